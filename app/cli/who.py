"""Marks beside names and texts of others: who only looks like somebody you know, and what leads outside."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import click

from openstall.app.cli.output import plain
from openstall.market import contacts

SIGN = "(!)"


def sign_names(
    items: Iterable[dict[str, Any]], name: str = "author_name", marks: str = "author_marks"
) -> None:
    """Put a sign behind each name that something is to be said about; for tables."""
    for item in items:
        item[name] = signed_name(item, name, marks)


def signed_name(item: Mapping[str, Any], name: str = "name", marks: str = "marks") -> str:
    """A name, with the sign behind it where something is to be said about it."""
    return f"{item[name]} {SIGN}" if item.get(marks) else str(item[name])


def warnings(item: Mapping[str, Any], name: str = "author_name", marks: str = "author_marks") -> list[str]:
    """What is to be said about a name, and about the texts beside it, line by line."""
    lines = [
        f"{SIGN} {plain(item[name]).removesuffix(f' {SIGN}')}: {mark['words']}"
        for mark in item.get(marks, [])
    ]
    return [*lines, *leads_outside(item)]


def leads_outside(item: Mapping[str, Any]) -> list[str]:
    """One line where a text names ways out of the app."""
    ways = item.get("ways_out") or []
    shown = ", ".join(plain(way["text"]) for way in ways)
    return [f"{SIGN} {contacts.WORDS} It names: {shown}"] if ways else []


def print_warnings(
    items: Iterable[Mapping[str, Any]], name: str = "author_name", marks: str = "author_marks"
) -> None:
    """Below a table, each once."""
    for line in dict.fromkeys(line for item in items for line in warnings(item, name, marks)):
        click.echo(line)
