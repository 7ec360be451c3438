"""The trust lab: attacks on delegator, and what comes of them."""
