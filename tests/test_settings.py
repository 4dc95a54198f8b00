"""hsm-enrol.toml: what is read, and how a fault is told."""

import pytest

from hsm_enrol import settings
from hsm_enrol.errors import BadSettings, SettingsMissing

GOOD = """
[verifier]
urls = ["https://vp1.example:8443", "https://vp2.example:8443/"]
audience = "hsm-enrol:5d0c"
ca_file = "/etc/hsm-enrol/verifier-ca.pem"
answer_keys = ["/etc/hsm-enrol/answer-key.pem"]
"""


def read(text: str) -> settings.Settings:
    return settings.parse(text.encode(), "/etc/x.toml", "/r/")


def test_the_smallest_file_gives_the_documented_defaults() -> None:
    got = read(GOOD)
    assert got.verifier.urls == ("https://vp1.example:8443", "https://vp2.example:8443")
    assert (got.verifier.deadline, got.imds.deadline, got.luna.tool_timeout) == (600.0, 120.0, 60.0)
    assert (got.luna.join, got.assertion.kem, got.deliver.pin) == ("tool", "mlkem768-x25519", "none")
    assert got.assertion.evidence == ("identity-role", "iid")
    assert got.root == "/r"


@pytest.mark.parametrize(
    ("text", "line", "what", "better"),
    [
        (GOOD + "deadlin = '1s'", 7, "unknown key 'deadlin'", "did you mean deadline?"),
        (GOOD + "[luna]\njoin = 'tools'", 8, "luna.join", "tool | config"),
        (GOOD + "[lunar]\n", 7, "unknown table or key 'lunar'", "did you mean luna?"),
        ("x = 1\n" + GOOD, 1, "unknown table or key 'x'", "known here: verifier"),
        (GOOD + "[imds]\n\ndeadline = 5", 9, "imds.deadline: not a time span", '"90s"'),
        (GOOD + "[imds]\nendpoint = 'https://x'", 8, "imds.endpoint", "169.254.169.254"),
        (GOOD.replace("https://vp1", "http://vp1"), 3, "verifier.urls", "https://"),
        (GOOD.replace("https://vp1", "https://u:p@vp1"), 3, "verifier.urls", "https://"),
        (
            GOOD.replace('urls = ["https://vp1.example:8443", "https://vp2.example:8443/"]', ""),
            2,
            "urls is missing",
            "",
        ),
        (GOOD.replace('["/etc/hsm-enrol/answer-key.pem"]', "[]"), 6, "a list of 1 to 4", ""),
        (GOOD.replace('"/etc/hsm-enrol/verifier-ca.pem"', '"ca.pem"'), 5, "a path must be absolute", "/"),
        (GOOD + "[luna\n", 7, "not TOML", "brackets closed"),
        (GOOD + "[luna]\n[luna]\n", 8, "not TOML", "each table and key once"),
        (GOOD + "proxy = 'socks5://x'", 7, "verifier.proxy", "http://"),
        (GOOD.replace("https://vp1.example:8443", "https://[fd00::1:8443"), 3, "verifier.urls", "https://"),
        (GOOD.replace("https://vp1.example", "https://vp\u21001"), 3, "verifier.urls", "https://"),
        (GOOD + "proxy = 'http://[fd00::1'", 7, "verifier.proxy", "http://"),
        (GOOD + "proxy = 'http://proxy:65536'", 7, "verifier.proxy", "http://"),
        (GOOD + "[imds]\nendpoint = 'http://[fd00:ec2::254'", 8, "imds.endpoint", "169.254.169.254"),
        (GOOD + "[imds]\nendpoint = 'http://169.254.169.254:x'", 8, "imds.endpoint", "169.254.169.254"),
        (GOOD + "deadline = " + "9" * 5000, 1, "not TOML", ""),
        (GOOD + "deadline = " + "[" * 5000, 1, "not TOML", ""),
        ("verifier = 3", 1, "'verifier' is a table", "[verifier]"),
        ("", 1, "verifier.urls is missing", ""),
    ],
)
def test_a_fault_names_its_line_and_a_way_out(text: str, line: int, what: str, better: str) -> None:
    with pytest.raises(BadSettings) as caught:
        read(text)
    assert caught.value.status == 78
    assert caught.value.facts["line"] == line
    assert what in str(caught.value.facts["what"])
    assert better in str(caught.value.facts["better"])


@pytest.mark.parametrize(
    "host",
    ["*", "*.example", "vp 1.example", "vp1.example%", "vp1,vp2", "<vp1>", ".example", "vp..example", "v" * 64],
)
def test_a_host_that_there_cannot_be_is_found_here_and_not_after_ten_minutes_of_asking(host: str) -> None:
    for text in (
        GOOD.replace("vp1.example", host),
        GOOD + f"proxy = 'http://{host}:3128'",
        GOOD + f"[imds]\nendpoint = 'http://{host}'",
    ):
        with pytest.raises(BadSettings):
            read(text)


@pytest.mark.parametrize(
    "host", ["vp1", "vp1.example.", "vp_1.example", "10.0.0.1", "[fd00::1]", "[fe80::1%eth0]", "h\u00fcm.example"]
)
def test_names_and_addresses_that_resolvers_take_are_taken(host: str) -> None:
    assert read(GOOD.replace("vp1.example", host)).verifier.urls[0] == f"https://{host}:8443"


@pytest.mark.parametrize(
    ("span", "seconds"), [("90s", 90), ("10min", 600), ("1h 30min", 5400), ("500ms", 0.5), ("1d", 86400), ("2m", 120)]
)
def test_time_spans_are_systemds(span: str, seconds: float) -> None:
    assert read(GOOD + f"deadline = '{span}'").verifier.deadline == pytest.approx(seconds)


@pytest.mark.parametrize("span", ["", "10", "0s", "2d", "-1s", "1.5s", "10 parsecs", "10min!", "１s", "99999999999s"])
def test_what_is_no_time_span_is_refused(span: str) -> None:
    with pytest.raises(BadSettings):
        read(GOOD + f"deadline = '{span}'")


def test_a_file_that_is_not_utf8_is_refused_with_its_line() -> None:
    with pytest.raises(BadSettings) as caught:
        settings.parse(GOOD.encode() + b"\n# \xff", "/x")
    assert caught.value.facts["line"] == 8


def test_a_missing_file_says_so(tmp_path: object) -> None:
    with pytest.raises(SettingsMissing, match="No such file"):
        settings.load(f"{tmp_path}/none.toml")
