"""What every command is given: the home, the output, and a client when it asks for one."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Concatenate, ParamSpec, TypeVar

import click

from openstall.app.cli.client import ApiClient
from openstall.app.cli.output import Output
from openstall.app.paths import Home
from openstall.market.errors import OpenstallError

P = ParamSpec("P")
T = TypeVar("T")


@dataclass(slots=True)
class Cli:
    """Made from the options before the noun."""

    home: Home
    output: Output
    _api: ApiClient | None = field(default=None)

    @property
    def api(self) -> ApiClient:
        """The node of this home; raises `node_not_running`."""
        if self._api is None:
            self._api = ApiClient(self.home)
            click.get_current_context().call_on_close(self._api.close)
        return self._api

    def published(self, done: dict[str, Any], words: str) -> None:
        """A record was signed; says so where nobody is there to get it."""
        if not self.output.as_json and not self.api.get("/v1/status")["network"]["peers"]:
            words += "\nKept here: you are connected to nobody. It is sent when you are online."
        self.output.document(done, words)


def command(fn: Callable[Concatenate[Cli, P], T]) -> Callable[P, T]:
    """Give a verb its `Cli`, and turn OpenstallError into words and exit status 1."""

    @click.pass_obj
    @functools.wraps(fn)
    def run(cli: Cli, /, *args: Any, **kwargs: Any) -> T:
        try:
            return fn(cli, *args, **kwargs)
        except OpenstallError as error:
            cli.output.fail(error)

    return run


def read_secret(prompt: str, file: str | None, *, confirm: bool = False) -> str:
    """A secret from a file (`-`: standard input) or from the terminal; never from the command line."""
    if file is None:
        value: str = click.prompt(prompt, hide_input=True, confirmation_prompt=confirm, err=True)
        return value
    try:
        with click.open_file(file, encoding="utf-8") as source:
            secret: str = source.read(4096)
    except (OSError, UnicodeDecodeError) as error:
        why = getattr(error, "strerror", None) or "it is not a text"
        raise OpenstallError(
            "unreadable_file",
            f"The file {file} for “{prompt}” cannot be read: {why}.",
            "Check its name and try again.",
        ) from error
    return secret.rstrip("\r\n")
