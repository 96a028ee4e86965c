"""The rules of `noodle.toml`, as pydantic models that live for one call.

Owns types, bounds and the naming of problems. The models never leave this
module: what is valid becomes the frozen types of `manifest`.
"""

from __future__ import annotations

import difflib
import re
import tomllib
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    StringConstraints,
    ValidationError,
    model_validator,
)

from noodle_engine.disk.failures import PathRefused
from noodle_engine.disk.paths import refuse_unclear
from noodle_engine.machine.plan import HealthCheck, Hook, HookPoint
from noodle_engine.registry.failures import ManifestInvalid, NameRefused, VersionRefused
from noodle_engine.registry.manifest import (
    MANIFEST_BYTES_MAX,
    MANIFEST_FORMAT,
    ReleaseManifest,
    ServiceSection,
)
from noodle_engine.registry.manifest_problems import explain_problems
from noodle_engine.registry.names import check_name
from noodle_engine.registry.tree_options import TreeOptions, mutable_problems, pattern_problem
from noodle_engine.registry.versions import VersionRange, check_version

__all__ = ["read_manifest"]

HEALTH_CHECKS_MAX = 32
HOOKS_MAX = 64
ARGUMENTS_MAX = 1024
TEXT_LENGTH_MAX = 4096
LIST_LENGTH_MAX = 256
SECONDS_MAX = 7 * 24 * 3600
RESERVED_ENV = ("NOODLE_", "PATH", "LANG")


def _name(text: str) -> str:
    try:
        return check_name(text)
    except NameRefused as error:
        raise ValueError(error.cause) from None


def _version(text: str) -> str:
    try:
        return check_version(text)
    except VersionRefused as error:
        raise ValueError(error.cause) from None


def _range(text: str) -> str:
    try:
        return str(VersionRange.parse(text))
    except VersionRefused as error:
        raise ValueError(error.cause) from None


def _target(text: str) -> str:
    try:
        refuse_unclear(text)
    except PathRefused as error:
        raise ValueError(f"{error.cause}; {error.remedy}") from None
    return text


def _inside(text: str) -> str:
    parts = Path(text).parts
    if Path(text).is_absolute() or ".." in parts or not parts:
        raise ValueError("it must name something in the release's folder, without `..`")
    return text


def _absolute(text: str) -> str:
    if not Path(text).is_absolute():
        raise ValueError("write the whole path, from / on")
    return text


def _no_zero(text: str) -> str:
    if "\0" in text:
        raise ValueError("it holds a zero byte")
    return text


def _http(text: str) -> str:
    if not text.startswith(("http://", "https://")):
        raise ValueError("it must begin with http:// or https://")
    try:
        named = urlsplit(text).username is not None
    except ValueError:
        raise ValueError("it is not an address") from None
    if named:
        raise ValueError("it holds a user's name: a check sends none, so use a command for it")
    return text


def _endpoint(text: str) -> str:
    host, colon, port = text.rpartition(":")
    if not (host and colon and port.isascii() and port.isdigit() and 0 < int(port) < 65536):
        raise ValueError("write host:port, with a port from 1 to 65535")
    return text


def _socket(text: str) -> str:
    scheme, _, rest = text.partition(":")
    if scheme == "tcp":
        _endpoint(rest)
    elif scheme != "unix" or not rest.startswith("/"):
        raise ValueError("write tcp:HOST:PORT or unix:/PATH")
    return text


def _pattern(text: str) -> str:
    problem = pattern_problem(text)
    if problem is not None:
        raise ValueError(problem)
    return text


def _mutable(texts: list[str]) -> list[str]:
    problems = mutable_problems(texts)
    if problems:
        raise ValueError("; ".join(problems))
    return texts


def _env_name(text: str) -> str:
    if re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", text) is None:
        raise ValueError("it is no name of an environment variable")
    if text.startswith(RESERVED_ENV[0]) or text in RESERVED_ENV[1:]:
        raise ValueError("Noodle sets this variable itself")
    return text


Text = Annotated[
    str, StringConstraints(min_length=1, max_length=TEXT_LENGTH_MAX), AfterValidator(_no_zero)
]
Argument = Annotated[str, StringConstraints(max_length=TEXT_LENGTH_MAX), AfterValidator(_no_zero)]
Command = Annotated[list[Argument], Field(min_length=1, max_length=ARGUMENTS_MAX)]
Texts = Annotated[list[Text], Field(max_length=LIST_LENGTH_MAX)]
Name = Annotated[str, AfterValidator(_name)]
Version = Annotated[str, AfterValidator(_version)]
Range = Annotated[str, AfterValidator(_range)]
Seconds = Annotated[float, Field(ge=0.001, le=SECONDS_MAX, allow_inf_nan=False)]
Ranges = Annotated[dict[Name, Range], Field(max_length=LIST_LENGTH_MAX)]


class _Strict(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)


class _Component(_Strict):
    name: Name
    version: Version
    kind: Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_-]{0,62}$")]
    critical: bool = False
    hot_swappable: bool | None = None
    upgrade_impact: Literal["low", "medium", "high"] | None = None
    features: Texts = []
    requires: Ranges = {}
    provides: Annotated[dict[Name, Version], Field(max_length=LIST_LENGTH_MAX)] = {}
    conflicts: Ranges = {}
    compatible_from: Range | None = None


class _Payload(_Strict):
    path: Annotated[Text, AfterValidator(_inside)]


class _Health(_Strict):
    http: Annotated[Text, AfterValidator(_http)] | None = None
    command: Command | None = None
    tcp: Annotated[Text, AfterValidator(_endpoint)] | None = None
    file: Annotated[Text, AfterValidator(_absolute)] | None = None
    status: Annotated[int, Field(ge=100, le=599)] = 200
    contains: Text | None = None
    passes: Annotated[int, Field(ge=1, le=1000)] = 3
    interval: Annotated[float, Field(ge=0, le=SECONDS_MAX, allow_inf_nan=False)] = 1.0
    timeout: Seconds = 5.0
    within: Seconds | None = None

    @model_validator(mode="after")
    def _one_way(self) -> _Health:
        ways = ("http", "command", "tcp", "file")
        given = [way for way in ways if getattr(self, way) is not None]
        if len(given) != 1:
            found = " and ".join(given) or "none"
            raise ValueError(f"give exactly one of http, command, tcp and file; found {found}")
        if self.tcp is not None and self.contains is not None:
            raise ValueError("a tcp check only connects: it cannot look for `contains`")
        if "status" in self.model_fields_set and self.http is None:
            raise ValueError("`status` goes with `http` only")
        return self

    def plain(self) -> HealthCheck:
        return HealthCheck(
            http=self.http,
            command=None if self.command is None else tuple(self.command),
            tcp=self.tcp,
            file=self.file,
            status=self.status,
            contains=self.contains,
            passes=self.passes,
            interval_ms=_ms(self.interval),
            timeout_ms=_ms(self.timeout),
            within_ms=None if self.within is None else _ms(self.within),
        )


class _Hook(_Strict):
    at: Literal["before-swap", "after-swap", "after-commit", "after-rollback"]
    command: Command
    undo: Command | None = None
    reversible: bool = True
    timeout: Seconds = 30.0
    pass_env: Annotated[
        list[Annotated[str, AfterValidator(_env_name)]], Field(max_length=LIST_LENGTH_MAX)
    ] = []

    @model_validator(mode="after")
    def _undone_where_it_can_be(self) -> _Hook:
        if self.at in ("after-commit", "after-rollback"):
            if self.undo is not None or not self.reversible:
                raise ValueError(
                    f"a hook at {self.at} is never taken back: leave out undo, reversible"
                )
        elif self.undo is not None and not self.reversible:
            raise ValueError("it has an undo, so it is reversible: leave one of both out")
        return self

    def plain(self) -> Hook:
        return Hook(
            at=HookPoint(self.at),
            command=tuple(self.command),
            undo=None if self.undo is None else tuple(self.undo),
            reversible=self.reversible,
            timeout_ms=_ms(self.timeout),
            pass_env=tuple(self.pass_env),
        )


class _Target(_Strict):
    path: Annotated[Text, AfterValidator(_target)]


class _DirectoryTarget(_Target):
    layout: Literal["link", "tree"] = "link"
    mutable: Annotated[Texts, AfterValidator(_mutable)] = []
    unmanaged: Annotated[
        list[Annotated[Text, AfterValidator(_pattern)]], Field(max_length=LIST_LENGTH_MAX)
    ] = []
    immutable: bool = False
    quiesce: Command | None = None
    unquiesce: Command | None = None

    @model_validator(mode="after")
    def _stopped_and_started(self) -> _DirectoryTarget:
        if (self.quiesce is None) != (self.unquiesce is None):
            there, missing = ("quiesce", "unquiesce")
            if self.quiesce is None:
                there, missing = missing, there
            raise ValueError(f"`{there}` needs `{missing}`: who stops writers starts them again")
        if self.quiesce is not None and not self.mutable:
            raise ValueError("`quiesce` stops who writes mutable paths: `mutable` must name some")
        return self

    def plain(self) -> TreeOptions:
        return TreeOptions.of(
            layout=self.layout,
            mutable=self.mutable,
            unmanaged=self.unmanaged,
            immutable=self.immutable,
            quiesce=self.quiesce or (),
            unquiesce=self.unquiesce or (),
        )


class _PlugInTarget(_Target):
    model_config = ConfigDict(extra="allow")
    __pydantic_extra__: dict[str, str] = Field(init=False)


class _Service(_Strict):
    command: Command | None = None
    unit: Annotated[str, StringConstraints(pattern=r"^[^/\s]+\.service$")] | None = None
    sockets: Annotated[
        list[Annotated[Text, AfterValidator(_socket)]], Field(max_length=LIST_LENGTH_MAX)
    ] = []
    ready: Literal["notify", "health"] = "health"
    instances: Annotated[int, Field(ge=1, le=1024)] = 1
    drain: Annotated[float, Field(ge=0, le=SECONDS_MAX, allow_inf_nan=False)] = 30.0
    user: Text | None = None

    @model_validator(mode="after")
    def _one_way(self) -> _Service:
        if (self.command is None) == (self.unit is None):
            raise ValueError("give exactly one of command and unit")
        return self

    def plain(self) -> ServiceSection:
        return ServiceSection(
            command=None if self.command is None else tuple(self.command),
            unit=self.unit,
            sockets=tuple(self.sockets),
            ready=self.ready,
            instances=self.instances,
            drain_ms=_ms(self.drain),
            user=self.user,
        )


class _Release(_Strict):
    """What every kind has. Each kind's own `[target]` is in a subclass."""

    format: Literal[1]
    component: _Component
    payload: _Payload
    target: _Target
    health: Annotated[list[_Health], Field(max_length=HEALTH_CHECKS_MAX)] = []
    hooks: Annotated[list[_Hook], Field(max_length=HOOKS_MAX)] = []


class _DirectoryRelease(_Release):
    target: _DirectoryTarget


class _ServiceRelease(_Release):
    service: _Service


class _PlugInRelease(_Release):
    target: _PlugInTarget


_RELEASE_OF: dict[str, type[_Release]] = {
    "file": _Release,
    "directory": _DirectoryRelease,
    "service": _ServiceRelease,
    "python": _Release,
    "compiler": _Release,
    "sqlite": _Release,
}


def read_manifest(data: bytes, path: Path) -> ReleaseManifest:
    """See `manifest.parse_manifest`."""
    if len(data) > MANIFEST_BYTES_MAX:
        problem = f"it is {len(data)} bytes long; at most {MANIFEST_BYTES_MAX} are read"
        raise ManifestInvalid(path=path, problems=(problem,))
    try:
        text = data.decode("utf-8")
        raw = tomllib.loads(text)
    except UnicodeDecodeError as error:
        problem = f"it is not UTF-8: byte {error.start}"
        raise ManifestInvalid(path=path, problems=(problem,)) from error
    except tomllib.TOMLDecodeError as error:
        raise ManifestInvalid(path=path, problems=(str(error),)) from error
    _refuse_other_format(raw, path)
    model = _model_for(raw)
    try:
        valid = model.model_validate(raw)
    except ValidationError as error:
        problems = explain_problems(error, model, text)
        if model is _PlugInRelease:
            problems = tuple(_blaming_kind(one, raw["component"]["kind"]) for one in problems)
        raise ManifestInvalid(path=path, problems=problems) from error
    return _plain(valid)


def _refuse_other_format(raw: dict[str, Any], path: Path) -> None:
    """A newer format may mean anything: nothing else of it is looked at."""
    found = raw.get("format")
    if isinstance(found, int) and not isinstance(found, bool) and found != MANIFEST_FORMAT:
        problem = f"format {found} is unknown to this version of Noodle, which reads 1"
        raise ManifestInvalid(path=path, problems=(problem,))


def _model_for(raw: dict[str, Any]) -> type[_Release]:
    component = raw.get("component")
    kind = component.get("kind") if isinstance(component, dict) else None
    return _RELEASE_OF.get(kind, _PlugInRelease) if isinstance(kind, str) else _Release


def _blaming_kind(problem: str, kind: str) -> str:
    """A problem in [target] that may come of a kind that is not meant: the key may be right."""
    if " target." not in f" {problem}":
        return problem
    near = difflib.get_close_matches(kind, _RELEASE_OF, n=1)
    hint = f"did you mean `{near[0]}`?" if near else f"those are {', '.join(_RELEASE_OF)}"
    return f"{problem} (`{kind}` is none of Noodle's own kinds, a plug-in's has texts only: {hint})"


def _plain(valid: _Release) -> ReleaseManifest:
    component = valid.component
    directory = valid.target.plain() if isinstance(valid.target, _DirectoryTarget) else None
    extra = valid.target.__pydantic_extra__ if isinstance(valid.target, _PlugInTarget) else None
    return ReleaseManifest(
        name=component.name,
        version=component.version,
        kind=component.kind,
        payload=valid.payload.path,
        target=valid.target.path,
        critical=component.critical,
        hot_swappable=component.hot_swappable,
        upgrade_impact=component.upgrade_impact,
        features=tuple(component.features),
        requires=dict(component.requires),
        provides=dict(component.provides),
        conflicts=dict(component.conflicts),
        compatible_from=component.compatible_from,
        health=tuple(check.plain() for check in valid.health),
        hooks=tuple(hook.plain() for hook in valid.hooks),
        directory=directory,
        service=valid.service.plain() if isinstance(valid, _ServiceRelease) else None,
        options=directory.to_text() if directory else dict(extra or {}),
    )


def _ms(seconds: float) -> int:
    return round(seconds * 1000)
