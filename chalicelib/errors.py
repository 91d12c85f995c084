"""What can go wrong, as values: no HTTP and no AWS in here.

ApiError             its message is for the caller
├── Unauthorized     the claims are not those of an ID token of a valid user
├── BadParameter     a query parameter is missing, or not what it may be
├── JobNotFound      the caller has no such job; whether another has is not told
└── Unavailable      AWS failed after retries, or no time was left: worth asking again
ConfigError          an environment variable is missing or bad: the app cannot start
"""


class ApiError(Exception):
    """parameter: what the message is about, as the caller names it, e.g. "job-id: number"."""

    def __init__(self, message: str, parameter: str = "") -> None:
        super().__init__(message)
        self.parameter = parameter


class Unauthorized(ApiError): ...


class BadParameter(ApiError): ...


class JobNotFound(ApiError): ...


class Unavailable(ApiError):
    def __init__(self) -> None:
        super().__init__("The service is busy. Please try again in a few seconds.")


class ConfigError(Exception):
    """The message names the variable, what it must be, what it was and where it is set."""
