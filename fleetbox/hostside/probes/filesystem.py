"""Probes of what a workload may read and write (FBX-FS).

Twins are made in the private /tmp, which every mode leaves writable, so that a read-only workspace makes no
other check inconclusive.
"""

from __future__ import annotations

from fleetbox.hostside.probes.outcome import Attempt
from fleetbox.hostside.probes.planted import DECOY
from fleetbox.hostside.probes.scene import Scene
from fleetbox.hostside.probes.trial import Allowed, Asked, Denied, Prepared, not_applicable


def _create(path: str, *, place: tuple[str, str] | None = None) -> Attempt:
    return Attempt("create", {"path": path, "place": place})


def _twin(scene: Scene, name: str) -> Attempt:
    return _create(scene.inside_tmp(name))


def _below(path: str, parents: tuple[str, ...]) -> bool:
    return any(path == parent or path.startswith(parent.rstrip("/") + "/") for parent in parents)


def outside_workspace(scene: Scene, asked: Asked) -> Prepared:
    """FBX-FS-001. `params.granted`: what the policy lets a workload write."""
    granted = tuple(path.replace("${HOME}", scene.home, 1) for path in asked.params.get("granted", ()))
    anchors = [scene.home_place] if not _below(scene.home, granted) else []
    swept = [place for place in scene.writable if not _below(place[0], granted)]
    if not anchors and not swept:
        return not_applicable("the policy lets workloads write wherever this user can")
    targets = [_create(f"{place[0]}/.fleetbox-probe-{scene.token}", place=place) for place in anchors]
    targets += [Attempt("writable", {"places": swept})] if swept else []
    return Denied("no file can be made outside the workspace", targets, [_twin(scene, "fs1")], needed=0)


def workspace(scene: Scene, asked: Asked) -> Prepared:
    """FBX-FS-002. `params.access`: write, or read where the policy makes the workspace read-only."""
    target = _create(scene.workspace + "/fleetbox-probe")
    if asked.params.get("access") == "read":
        twin = Attempt("read", {"path": scene.workspace + "/README", "token": scene.token})
        return Denied("the workspace can be read and not written", [target], [twin])
    return Allowed("the workspace can be written", [target])


def git(scene: Scene, asked: Asked) -> Prepared:
    """FBX-FS-003. `params.whole`: .git itself is protected; else what makes git run code still is."""
    below = scene.workspace + "/.git/"
    targets = [
        Attempt("edit", {"path": below + "config"}),
        _create(below + "hooks/pre-commit"),
        Attempt("rename", {"path": below + "hooks"}),
    ]
    if asked.params.get("whole", True):
        targets += [_create(below + "index.lock"), Attempt("rename", {"path": below.rstrip("/")})]
    return Denied("git's hooks and configuration cannot be changed", targets, [_twin(scene, "fs3")])


def settings(scene: Scene, asked: Asked) -> Prepared:
    """FBX-FS-004. `params.names`: protected names of settings; every other one is missing at launch."""
    targets = [
        Attempt("edit", {"path": f"{scene.workspace}/{name}/settings.json"})
        for name in asked.params.get("names", ())
    ]
    return Denied("settings of agents in the workspace cannot be changed", targets, [_twin(scene, "fs4")])


def credentials(scene: Scene, asked: Asked) -> Prepared:
    """FBX-FS-005. `params.places`: where the policy denies credentials; each holds a decoy."""
    targets = [Attempt("read", {"path": path, "token": _token(scene, path)}) for path in scene.decoys]
    twin = Attempt("read", {"path": scene.workspace + "/README", "token": scene.token})
    return Denied("credentials of the user cannot be read", targets, [twin])


def _token(scene: Scene, path: str) -> str:
    name = path.rsplit("/", 1)[-1]
    return scene.token if name.startswith(DECOY) else ""


def startup(scene: Scene, asked: Asked) -> Prepared:
    """FBX-FS-006. `params.paths`: files of the home directory that are run without being asked for.

    A file can be the host's where the home is not: one that holds denied names is shown as it was at launch.
    """
    targets = [Attempt("edit", {"path": path, "known": known}) for path, known in scene.startup]
    return Denied("nothing that starts by itself can be changed", targets, [_twin(scene, "fs6")], needed=0)


def private_tmp(scene: Scene, asked: Asked) -> Prepared:
    """FBX-FS-008: /tmp and /var/tmp, by a file of the user's in each and by writing."""
    paths = (scene.inside_tmp("host"), scene.beside + "/secret")
    targets = [Attempt("read", {"path": path, "token": scene.token}) for path in paths]
    targets.append(_create(scene.beside + "/fleetbox-probe", place=scene.beside_place))
    return Denied("the host's /tmp and /var/tmp are not seen", targets, [_twin(scene, "fs8")])
