"""What stands behind the `Model` protocol: Claude through its SDK, the offline model, the scripted model.

Nothing here is imported before it is used: the SDK alone takes longer to import than an offline run takes.
"""

CREDENTIALS = (
    "ANTHROPIC_API_KEY",
    "ANTHROPIC_AUTH_TOKEN",
    "ANTHROPIC_PROFILE",
    "ANTHROPIC_FEDERATION_RULE_ID",
)
"""Environment variables that hold or name credentials for the Messages API."""
DEFAULT_MODEL = "claude-sonnet-5-5"
"""Who answers where nobody is named."""
CLOUDS = {
    "bedrock": ("AsyncAnthropicBedrock", "botocore"),
    "vertex": ("AsyncAnthropicVertex", "google.auth"),
    "foundry": ("AsyncAnthropicFoundry", "anthropic"),
}
"""The SDK's client for a cloud, and the module without which it fails at the first request."""
