"""The exceptions that this project raises itself.

ApiError     a request that ends with an error response
ConfigError  an environment variable is missing or bad: the app cannot start
"""

BUSY = "The service is busy. Please try again in a few seconds."


class ApiError(Exception):
    """An error response: its status, and a message that the caller may see.

    parameter is the query parameter that the message is about, e.g. "job-id: number".
    """

    def __init__(self, status: int, message: str, parameter: str = "") -> None:
        super().__init__(message)
        self.status = status
        self.parameter = parameter


class ConfigError(Exception):
    """The message names the variable, what it must be, what it was and where it is set."""
