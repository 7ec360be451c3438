"""What may go wrong between a request and its reply, named: HTTP statuses, the API's own error types."""

from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

from delegator.errors import Fault, ModelError
from delegator.models.governor import retry_after

_TYPES = {
    "authentication_error": Fault.AUTH,
    "permission_error": Fault.AUTH,
    "not_found_error": Fault.NOT_FOUND,
    "invalid_request_error": Fault.BAD_REQUEST,
    "billing_error": Fault.SPEND_LIMIT,
    "rate_limit_error": Fault.RATE_LIMITED,
    "overloaded_error": Fault.OVERLOADED,
    "timeout_error": Fault.SILENT,
}
_STATUS = {
    401: Fault.AUTH,
    402: Fault.SPEND_LIMIT,
    403: Fault.AUTH,
    404: Fault.NOT_FOUND,
    405: Fault.NOT_FOUND,
    408: Fault.SILENT,
    429: Fault.RATE_LIMITED,
    504: Fault.SILENT,
    529: Fault.OVERLOADED,
}
_SPEND_LIMITS = frozenset({"enforced_spend_limit_reached", "contract_spend_limit_reached"})


def fault_of(error_type: object) -> Fault:
    """The fault that an API error type stands for."""
    return _TYPES.get(error_type, Fault.SERVER) if isinstance(error_type, str) else Fault.SERVER


def refused(status: int, headers: Mapping[str, str], body: object) -> ModelError:
    """The fault of a request that was answered with an error status. `body` is its JSON, or whatever came instead."""
    error = _mapping(_mapping(body).get("error"))
    told = error.get("message") or body
    return ModelError(
        _status_fault(status, _mapping(error.get("details")).get("error_code")),
        status=status,
        detail=told if isinstance(told, str) else str(told or ""),
        retry_after=retry_after(headers),
    )


def _status_fault(status: int, code: object) -> Fault:
    if isinstance(code, str) and code in _SPEND_LIMITS:
        return Fault.SPEND_LIMIT
    other = Fault.SERVER if status >= HTTPStatus.INTERNAL_SERVER_ERROR else Fault.BAD_REQUEST
    return _STATUS.get(status, other)


def _mapping(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}
