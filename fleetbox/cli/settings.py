"""Settings: flag > FLEETBOX_* > ./fleetbox.toml > the user's config.toml > /etc/fleetbox/config.toml.

Only settings that something reads exist, and an unknown key is an error: it would be a setting that
somebody believes in. Paths in a file are relative to that file.
"""

import os
import stat
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from fleetbox.errors import UsageError

_LOCAL = Path("fleetbox.toml")
_SYSTEM = Path("/etc/fleetbox/config.toml")


@dataclass(frozen=True)
class Settings:
    """`inventory` is empty where ansible.cfg decides; `state_dir` holds journal and results."""

    inventory: tuple[str, ...]
    state_dir: Path
    forks: int

    @property
    def results_url(self) -> str:
        """The conformance store's SQLAlchemy URL; its folder is made when it is first opened."""
        return f"sqlite:///{self.state_dir / 'results.db'}"


class _Layer(BaseModel):
    """What one source says; None: nothing."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    inventory: Annotated[
        tuple[str, ...] | None, BeforeValidator(lambda value: [value] if isinstance(value, str) else value)
    ] = None
    state_dir: str | None = None
    forks: int | None = Field(None, ge=1, le=500)


def load(
    *, inventory: Sequence[str] = (), state_dir: str | Path | None = None, forks: int | None = None
) -> Settings:
    """The settings in force, given the flags. Raises UsageError for a source that cannot be believed."""
    flags = _Layer(
        inventory=tuple(inventory) or None, state_dir=str(state_dir) if state_dir else None, forks=forks
    )
    layers = [flags, _environment(), *(_file(path) for path in (_LOCAL, _user_file(), _SYSTEM))]

    def first(name: str, default: Any) -> Any:
        return next((v for layer in layers if (v := getattr(layer, name)) is not None), default)

    return Settings(
        inventory=first("inventory", ()),
        state_dir=Path(first("state_dir", _default_state_dir())).expanduser().absolute(),
        forks=first("forks", 25),
    )


def _environment() -> _Layer:
    found = {name: os.environ.get(f"FLEETBOX_{name.upper()}") for name in _Layer.model_fields}
    values: dict[str, Any] = {name: value for name, value in found.items() if value}
    if "inventory" in values:
        values["inventory"] = values["inventory"].split(os.pathsep)
    return _validated(values, "the environment (FLEETBOX_*)")


def _file(path: Path) -> _Layer:
    try:
        text = path.read_text("utf-8")
    except FileNotFoundError:
        return _Layer()
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"{path} cannot be read: {error}") from error
    _refuse_writable(path)
    try:
        layer = _validated(tomllib.loads(text), str(path))
    except tomllib.TOMLDecodeError as error:
        raise UsageError(f"{path} is not TOML: {error}") from error
    return _rooted(layer, path.absolute().parent)


def _refuse_writable(path: Path) -> None:
    """Whoever may write the folder or the file would choose which hosts are changed, and by which state."""
    for place in (path.absolute().parent, path):
        if place.stat().st_mode & stat.S_IWOTH:
            raise UsageError(
                f"{path} is not believed: {place} can be written by everybody",
                hint=f"chmod o-w {place}, or name the settings by flags",
            )


def _validated(values: dict[str, Any], source: str) -> _Layer:
    try:
        return _Layer.model_validate(values)
    except ValidationError as error:
        first = error.errors()[0]
        name = ".".join(str(part) for part in first["loc"][:1])
        if first["type"] == "extra_forbidden":
            raise UsageError(
                f"{source}: there is no setting {name!r}",
                hint=f"the settings are {', '.join(_Layer.model_fields)}",
            ) from error
        raise UsageError(f"{source}: {name}: {first['msg']}") from error


def _rooted(layer: _Layer, folder: Path) -> _Layer:
    """Paths of a file, relative to it; a host list (`h1,`) is no path."""
    update: dict[str, Any] = {}
    if layer.inventory is not None:
        update["inventory"] = tuple(s if "," in s else str(_under(folder, s)) for s in layer.inventory)
    if layer.state_dir is not None:
        update["state_dir"] = str(_under(folder, layer.state_dir))
    return layer.model_copy(update=update)


def _under(folder: Path, path: str) -> Path:
    return folder / Path(path).expanduser()


def _user_file() -> Path:
    return Path(os.environ.get("XDG_CONFIG_HOME") or "~/.config").expanduser() / "fleetbox" / "config.toml"


def _default_state_dir() -> Path:
    return Path(os.environ.get("XDG_STATE_HOME") or "~/.local/state").expanduser() / "fleetbox"
