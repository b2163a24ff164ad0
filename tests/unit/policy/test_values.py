"""What one value of a field may be, and what is said of every other: a table for each kind."""

from pathlib import Path

import pytest

from tests.unit.policy.documents import load, only, outbound, rule


@pytest.mark.parametrize(
    ("body", "field", "hint"),
    [
        ("filesytem: {}", "filesytem", "did you mean filesystem?"),
        ("rules: []", "rules", "filesystem.rules"),
        ("credentials: {}", "credentials", "known here"),
        ("<<: {a: b}", "<<", "extends"),
        ("devices: {gpu: {mod: auto}}", "devices.gpu.mod", "did you mean mode?"),
        (
            "filesystem: {rules: [{path: /a, acess: read}]}",
            "filesystem.rules[0].acess",
            "did you mean access?",
        ),
        (outbound("host: a.b, ports: [1], port: 2"), "network.outbound[0].port", "did you mean ports?"),
    ],
)
def test_an_unknown_key_is_refused_and_the_nearest_one_named(
    tmp_path: Path, body: str, field: str, hint: str
) -> None:
    found = only(tmp_path, body)
    assert (found.field, found.problem) == (field, "unknown key")
    assert hint in found.hint


@pytest.mark.parametrize(
    ("body", "field", "problem", "hint"),
    [
        ("filesystem: host", "filesystem", "not a mapping", "keys and values"),
        ("filesystem: {rules: ~/x}", "filesystem.rules", "not a list", "list"),
        ("extends: base", "extends", "not a list", "list"),
        ("filesystem:", "filesystem", "empty", "remove it"),
        ("process: {allowed_binaries: }", "process.allowed_binaries", "empty", "remove it"),
        ("process: {allowed_binaries: []}", "process.allowed_binaries", "an empty list", "one entry"),
        ("filesystem: {rules: [{path: /a}]}", "filesystem.rules[0].access", "missing", "add"),
        ("filesystem: {protect: [1]}", "filesystem.protect[0]", "not text", 'in quotes: "1"'),
        ("environment: {set: {A: 1}}", "environment.set.A", "not text", 'in quotes: "1"'),
        ("environment: {set: {A: true}}", "environment.set.A", "not text", 'in quotes: "true"'),
        ("process: {limits: {pids: '8'}}", "process.limits.pids", "not a whole number", "without quotes"),
        ("process: {limits: {pids: 0}}", "process.limits.pids", "out of range", "at least 1"),
        (
            "process: {allow_host_pids: off}",
            "process.allow_host_pids",
            "neither true nor false",
            "write false",
        ),
        ("mode: off", "mode", "not one of read-only", "write"),
        ("mode: readonly", "mode", "not one of", "did you mean read-only?"),
        ("landlock: best_effort", "landlock", "not one of", "did you mean best-effort?"),
        (
            "devices: {gpu: {vendors: [nvida]}}",
            "devices.gpu.vendors[0]",
            "not one of",
            "did you mean nvidia?",
        ),
    ],
)
def test_a_wrong_shape_or_word_is_refused(
    tmp_path: Path, body: str, field: str, problem: str, hint: str
) -> None:
    found = only(tmp_path, body)
    assert found.field == field
    assert found.problem.startswith(problem)
    assert hint in found.hint


@pytest.mark.parametrize(
    ("path", "access", "problem", "hint"),
    [
        ("src", "read", "a relative path", "$WORKSPACE/src"),
        ("/a/../b", "read", "a path with ..", "without"),
        ("", "read", "an empty path", "absolute"),
        ("~root/x", "read", "another user's home", "absolute"),
        ("$HOMES/x", "read", "not a known variable", "WORKSPACE"),
        ("/a/$X", "read", "a variable inside a path", "beginning"),
        ("/a\\nb", "read", "a path with an unprintable character", "remove"),
        ("/" + "a" * 256, "read", "too long a name in a path", "255"),
        ("/abc" * 1024, "read", "too long a path", "4095"),
        ("/", "write", "a rule over the whole file system", "filesystem.root"),
        ("//./", "none", "a rule over the whole file system", "filesystem.root"),
        ("~", "write", "a home directory writable", "allow_home: true"),
        ("$HOME/", "write", "a home directory writable", "allow_home: true"),
        ("/home/me", "write", "a home directory writable", "allow_home: true"),
        ("/home", "write", "a home directory writable", "allow_home: true"),
        ("/root", "write", "a home directory writable", "allow_home: true"),
        ("/etc/", "write", "a system directory writable", "needed"),
        ("/dev/nvidia0", "write", "a rule over device nodes", "devices.allow"),
        ("/proc/sys", "none", "a rule over /proc", "its own"),
        ("/**/*.key", "none", "a pattern without a fixed beginning", "$WORKSPACE"),
        ("**/*.key", "none", "a relative path", "$WORKSPACE/**/*.key"),
        ("~/a**", "none", "** beside other characters", "alone"),
        ("~/a/**", "none", "a pattern that ends in **", "everything below"),
        ("~/*.[ch]", "none", "a pattern with brackets", "each"),
        ("~/*" + "/*" * 40, "none", "too deep a pattern", "31"),
        ("~/*.pem", "write", "a pattern that gives access", "none"),
    ],
)
def test_a_rule_that_is_no_rule_is_refused(
    tmp_path: Path, path: str, access: str, problem: str, hint: str
) -> None:
    found = only(tmp_path, rule(path, access))
    assert found.field.startswith("filesystem.rules[0]")
    assert found.problem == problem
    assert hint in found.hint


def test_a_writable_home_can_be_said_to_be_meant(tmp_path: Path) -> None:
    body = "filesystem: {rules: [{path: ~, access: write, allow_home: true}]}\n"
    assert load(tmp_path, body).filesystem.rules[0].path == "${HOME}"


@pytest.mark.parametrize(
    ("name", "problem"),
    [
        ("/etc", "not a relative name"),
        ("../x", "a path with .."),
        ("'*.key'", "a pattern"),
        ("./", "an empty name"),
    ],
)
def test_a_protected_name_is_relative(tmp_path: Path, name: str, problem: str) -> None:
    found = only(tmp_path, f"filesystem: {{protect: [{name}]}}")
    assert (found.field, found.problem) == ("filesystem.protect[0]", problem)


@pytest.mark.parametrize(
    ("problem", "hosts"),
    [
        ("a wildcard over everything", ["*", "*.com"]),
        ("a wildcard inside a name", ["a.*.com", "a*.example.com", "*.*.com", "**.example.com"]),
        ("a URL", ["https://example.com"]),
        ("a host with a port", ["example.com:443", "10.0.0.1:80"]),
        ("a host with a path", ["example.com/x"]),
        ("a host with a trailing dot", ["example.com.", "*."]),
        ("a host name that is not ASCII", ["exämple.com"]),
        ("not a host name", ["-a.com", "a..com", "", "a b.com", "x" * 64 + ".com", "*.-.com", "a.com-"]),
        ("an address in brackets", ["[::1]"]),
        (
            "the host's own loopback",
            ["localhost", "x.localhost", "127.1.2.3", "0.0.0.0", "::1", "::ffff:127.0.0.1"],
        ),
        (
            "a metadata address",
            ["169.254.169.254", "169.254.170.2", "::ffff:169.254.169.254", "2002:a9fe:a9fe::"],
        ),
        ("a metadata address", ["fd00:ec2::254", "fe80::1", "100.100.100.200", "168.63.129.16"]),
        ("a metadata address", ["METADATA.google.internal", "*.google.internal", "metadata.goog"]),
        (
            "not an address",
            ["2852039166", "0xa9fea9fe", "169.254.43518", "0251.0376.0251.0376", "10.0.0.0x1", "1:::2"],
        ),
        ("not an address of one host", ["224.0.0.1", "ff02::1", "255.255.255.255"]),
    ],
)
def test_a_destination_that_reaches_too_much_is_refused(
    tmp_path: Path, problem: str, hosts: list[str]
) -> None:
    for host in hosts:
        found = only(tmp_path, outbound(f"host: '{host}', ports: [443]"))
        assert (found.field, found.problem) == ("network.outbound[0].host", problem), host


@pytest.mark.parametrize(
    ("written", "host"),
    [
        ("API.Example.com", "api.example.com"),
        ("*.example.com", "*.example.com"),
        ("10.0.0.1", "10.0.0.1"),
        ("2001:DB8:0::1", "2001:db8::1"),
        ("xn--exmple-cua.com", "xn--exmple-cua.com"),
        ("intranet", "intranet"),
        ("1password.com", "1password.com"),
    ],
)
def test_a_destination_has_one_spelling(tmp_path: Path, written: str, host: str) -> None:
    policy = load(tmp_path, outbound(f"host: '{written}', ports: [443]") + "\n")
    assert policy.network.outbound[0].host == host


@pytest.mark.parametrize(
    ("text", "field", "problem", "hint"),
    [
        ("ports: [0]", "ports[0]", "out of range", "at least 1"),
        ("ports: [65536]", "ports[0]", "out of range", "at most 65535"),
        ("ports: ['443']", "ports[0]", "not a whole number", "without quotes"),
        ("ports: [true]", "ports[0]", "not a whole number", "without quotes"),
        ("ports: []", "ports", "an empty list", "at least one"),
        ("ports: [1], methods: [get]", "methods[0]", "not one of", "GET"),
        ("ports: [1], paths: [x]", "paths[0]", "not a request path", "/"),
        ("ports: [1], paths: [/a/../b]", "paths[0]", "not a request path", "/"),
    ],
)
def test_what_a_destination_allows_is_checked(
    tmp_path: Path, text: str, field: str, problem: str, hint: str
) -> None:
    found = only(tmp_path, outbound(f"host: a.b, {text}"))
    assert found.field == f"network.outbound[0].{field}"
    assert found.problem.startswith(problem)
    assert hint in found.hint


@pytest.mark.parametrize(
    ("problem", "nodes"),
    [
        ("a pattern over device nodes", ["/dev/dri/*", "/dev/nvidia?"]),
        (
            "a directory of device nodes",
            ["/dev/nvidia-caps", "/dev/dri/", "/dev", "/dev/vfio", "/dev/bus/usb/001"],
        ),
        (
            "a node that gives the machine away",
            [
                *(
                    "/dev/mem",
                    "/dev/sda1",
                    "/dev/nvme0n1",
                    "/dev/tty1",
                    "/dev/uinput",
                    "/dev/ng0n1",
                    "/dev/st0",
                ),
                *("/dev/nst0m", "/dev/dax0.0", "/dev/nvram", "/dev/ipmi0", "/dev/ipmi/0", "/dev/ipmidev/0"),
                *(
                    "/dev/mpt3ctl",
                    "/dev/mptctl",
                    "/dev/megaraid_sas_ioctl_node",
                    "/dev/mei0",
                    "/dev/userfaultfd",
                ),
            ],
        ),
        ("a node that every sandbox has", ["/dev/null", "/dev/tty"]),
        ("not a path below /dev", ["/etc/passwd", "dev/kvm"]),
        ("a path with ..", ["/dev/../etc"]),
    ],
)
def test_device_nodes_are_named_one_by_one(tmp_path: Path, problem: str, nodes: list[str]) -> None:
    for node in nodes:
        found = only(tmp_path, f"devices: {{allow: ['{node}']}}")
        assert (found.field, found.problem) == ("devices.allow[0]", problem)


def test_a_node_that_is_never_pulled_in_can_be_named(tmp_path: Path) -> None:
    body = "devices: {allow: [/dev/kvm, /dev/dri/card0, /dev/nvidia-caps/nvidia-cap1]}\n"
    assert len(load(tmp_path, body).devices.allow) == 3


@pytest.mark.parametrize(
    "select",
    [
        *("7", "0000:65:00.0", "65:00.0", "10000:01:00.0"),
        "GPU-5fa5ad1c-e1f4-4a7c-a3e8-4f3a0d8f1c55",
        "MIG-2f21fe35-6e3a-5c6a-8c6a-d8d4b5a2b7f1",
        "GPU-1a2b3c4d5e6f7081",
    ],
)
def test_a_gpu_is_selected_by_index_uuid_or_address(tmp_path: Path, select: str) -> None:
    policy = load(tmp_path, f"devices: {{gpu: {{select: '{select}'}}}}\n")
    assert policy.devices.gpu.select == (select,)


@pytest.mark.parametrize("select", ["nvidia.com/gpu=0", "vendor.example/class-1=0:1", "a.b/gpu=GPU-x"])
def test_a_cdi_device_is_selected_by_its_whole_name(tmp_path: Path, select: str) -> None:
    policy = load(tmp_path, f"devices: {{gpu: {{vendors: [cdi], select: '{select}'}}}}\n")
    assert policy.devices.gpu.select == (select,)


@pytest.mark.parametrize(
    "select",
    ["vendor.com/gpu=", "vendor.com/=0", "1v/gpu=0", "v/gpu=../../x", "v/gpu=a b", f"v/gpu={'x' * 130}"],
)
def test_what_is_no_cdi_name_is_refused(tmp_path: Path, select: str) -> None:
    found = only(tmp_path, f"devices: {{gpu: {{vendors: [cdi], select: '{select}'}}}}")
    assert (found.field, found.problem) == ("devices.gpu.select", "not a GPU selection")


@pytest.mark.parametrize("select", ["GPU-1", "[all]", "[]", "[true]", "-1", "{a: b}", "1.5"])
def test_a_gpu_selection_is_one_of_its_kinds(tmp_path: Path, select: str) -> None:
    found = only(tmp_path, f"devices: {{gpu: {{select: {select}}}}}")
    assert (found.field, found.problem) == ("devices.gpu.select", "not a GPU selection")


@pytest.mark.parametrize(
    ("body", "field", "problem"),
    [
        ("environment: {pass: ['*']}", "environment.pass[0]", "the whole environment"),
        ("environment: {pass: ['A*B']}", "environment.pass[0]", "not a variable's name"),
        ("environment: {set: {A-B: x}}", "environment.set.A-B", "not a variable's name"),
        ('environment: {set: {A: "x\\0"}}', "environment.set.A", "not a variable's value"),
        ("process: {limits: {memory: 16GB}}", "process.limits.memory", "not an amount of memory"),
        ("process: {limits: {memory: 16}}", "process.limits.memory", "not text"),
        ("process: {limits: {wall: 4 hours}}", "process.limits.wall", "not a length of time"),
        ("process: {limits: {wall: 0s}}", "process.limits.wall", "not a length of time"),
        ("process: {limits: {wall: ''}}", "process.limits.wall", "not a length of time"),
        ("process: {allowed_binaries: [bin/sh]}", "process.allowed_binaries[0]", "a relative path"),
        ("process: {allowed_binaries: ['*']}", "process.allowed_binaries[0]", "a pattern"),
        ("extends: [../secrets]", "extends[0]", "neither a preset nor a policy file"),
        ("extends: [/etc/shadow]", "extends[0]", "neither a preset nor a policy file"),
    ],
)
def test_a_value_that_means_nothing_is_refused(tmp_path: Path, body: str, field: str, problem: str) -> None:
    found = only(tmp_path, body)
    assert (found.field, found.problem) == (field, problem)
