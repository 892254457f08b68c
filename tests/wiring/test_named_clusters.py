"""Clusters by name: a file that a person may write, and no secret in it."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from wiring_cases import podium_here

from podium.errors import LookupFailed, Refused, UserError
from podium.execution.guardian import Charge
from podium.wiring.clusters import elsewhere, named, planting
from podium.wiring.clusters.elsewhere import Answer
from podium.wiring.clusters.named import Cluster
from podium.wiring.place import Place

TOKEN = "0123456789abcdef"


@pytest.fixture(autouse=True)
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The file of this test's user, who has no token anywhere."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in ("RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path / "config" / "podium" / "clusters.toml"


@pytest.fixture
def token(tmp_path: Path) -> Path:
    """A file with a token, for its owner alone."""
    file = tmp_path / "lab.token"
    file.write_text(f"{TOKEN}\n")
    file.chmod(0o600)
    return file


def test_a_named_cluster_is_found_listed_and_forgotten(tmp_path: Path, config: Path, token: Path) -> None:
    added = podium_here(tmp_path, "cluster", "add", "lab", "http://lab:8265/", "--token", "lab.token", "--json")
    assert (added.code, added.json["address"]) == (0, "http://lab:8265"), added.problems
    assert config.stat().st_mode & 0o777 == 0o600
    assert TOKEN not in config.read_text()
    assert named.find("lab") == Cluster("lab", "http://lab:8265", token)
    assert named.clusters()["lab"].token() == TOKEN
    known = podium_here(tmp_path, "cluster", "list", "--json").json["clusters"]
    assert known == [{"name": "lab", "address": "http://lab:8265", "token": str(token)}]
    assert podium_here(tmp_path, "cluster", "remove", "lab").code == 0
    with pytest.raises(LookupFailed, match="there is no cluster 'lab'; named clusters: none yet"):
        named.find("lab")


def test_what_its_user_wrote_into_the_file_stays(config: Path) -> None:
    config.parent.mkdir(parents=True)
    config.write_text('# mine\n[lab]\naddress = "http://old:8265"  # in the cellar\n')
    named.add("other", "https://other.example.org", None)
    named.remove("other")
    assert config.read_text().startswith("# mine\n[lab]\n")
    assert "in the cellar" in config.read_text()


@pytest.mark.parametrize("here", ["inline", "local", "auto", "10.77.0.1:6379", "head:6379"])
def test_what_is_here_or_joined_is_not_elsewhere(here: str) -> None:
    assert named.find(here) is None


def test_an_address_is_a_cluster_without_a_name() -> None:
    assert named.find("http://head:8265/") == Cluster("http://head:8265", "http://head:8265")


@pytest.mark.parametrize("address", ["ray://head:10001", "http://", "ftp://head", "http://user:hidden@head:8265"])
def test_what_is_no_address_is_refused_and_no_login_is_shown(address: str) -> None:
    with pytest.raises(UserError, match="is no address of a cluster elsewhere; give") as raised:
        named.find(address)
    assert "hidden" not in str(raised.value)


@pytest.mark.parametrize("name", ["local", "a b", "", "http://x", "-x"])
def test_what_cannot_be_a_name_is_refused(name: str, config: Path) -> None:
    with pytest.raises(UserError, match="cannot be a cluster's name"):
        named.add(name, "http://head:8265", None)
    assert not config.exists()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[lab]\naddress = 7\n", r"clusters\.toml:1: lab: has no address"),
        ('\n\n[lab]\naddress = "http://lab:8265"\nuser = "me"\n', r"clusters\.toml:3: lab: user cannot be said"),
        ('[a]\naddress = "http://a:1"\n["lab"]\naddress = "lab:1"\n', r"clusters\.toml:3: lab: 'lab:1' is no address"),
        (f'[lab]\naddress = "http://lab:1"\ntoken = "{TOKEN}"\n', r"clusters\.toml:1: lab: token must be the path"),
        ("[lab\n", r"clusters\.toml: .*line 1"),
    ],
)
def test_a_mistake_in_the_file_is_named_with_its_line(config: Path, text: str, said: str) -> None:
    config.parent.mkdir(parents=True)
    config.write_text(text)
    with pytest.raises(UserError, match=said) as raised:
        named.find("lab")
    assert TOKEN not in str(raised.value)


def test_a_clusters_own_token_comes_first(tmp_path: Path, token: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    usual = tmp_path / ".ray" / "auth_token"
    assert Cluster("lab", "http://lab:1").token() == ""
    usual.parent.mkdir()
    usual.write_text("usual")
    usual.chmod(0o600)
    assert Cluster("lab", "http://lab:1").token() == "usual"
    monkeypatch.setenv("RAY_AUTH_TOKEN", "given")
    assert Cluster("lab", "http://lab:1").token() == "given"
    assert Cluster("lab", "http://lab:1", token).token() == TOKEN
    monkeypatch.setenv("RAY_AUTH_TOKEN", f" {TOKEN}\n")
    assert Cluster("lab", "http://lab:1").token() == TOKEN


@pytest.mark.parametrize("wrong", ["hidden\nhidden", "hid den", "hiddén"])
def test_what_is_no_token_is_refused_and_not_shown(token: Path, monkeypatch: pytest.MonkeyPatch, wrong: str) -> None:
    monkeypatch.setenv("RAY_AUTH_TOKEN", wrong)
    token.write_text(wrong)
    for cluster, source in (
        (Cluster("lab", "http://lab:1"), "RAY_AUTH_TOKEN"),
        (Cluster("lab", "", token), str(token)),
    ):
        with pytest.raises(UserError, match=f"^{source} holds no token") as raised:
            cluster.token()
        assert "hid" not in str(raised.value).removeprefix(source)


def test_a_token_that_others_can_read_or_nobody_is_refused(tmp_path: Path, token: Path, config: Path) -> None:
    token.chmod(0o640)
    refused = podium_here(tmp_path, "cluster", "add", "lab", "http://lab:8265", "--token", str(token))
    assert (refused.code, f"chmod 600 {token}" in refused.problems) == (2, True)
    refused = podium_here(tmp_path, "cluster", "add", "lab", "http://lab:8265", "--token", "no/such")
    assert (refused.code, "No such file" in refused.problems) == (2, True)
    assert not config.exists()


@pytest.mark.parametrize(
    ("arguments", "cluster", "said"),
    [
        (["list"], "labb", "there is no cluster 'labb'; named clusters: lab"),
        (["list"], "http://127.0.0.1:9", "nobody answers at http://127.0.0.1:9"),
        (["list", "--ledger", "postgresql://a:hidden@db/x"], "lab", "--ledger postgresql://***@db/x has a password"),
        (
            ["list", "--ledger", "postgresql://a:hid/hidden@db/x"],
            "lab",
            "--ledger postgresql://***@db/x has a password",
        ),
        (["list", "--ledger", "postgresql://db/x?password=hidden"], "lab", "/x?password=*** has a password"),
        (["list", "--store", "here"], "lab", "give an absolute path"),
        (["compare", "digits", "--html", ".."], "lab", "--html .. has no name of its own"),
        (["inside", "digits", "--out", "."], "lab", "--out . has no name of its own"),
        (["report", "digits", "--html", "a/x", "--pdf", "b/x"], "lab", "--pdf b/x has the name of another file"),
        (["export", "digits", "--optuna", "postgresql://db/x"], "lab", "is an address, and a cluster elsewhere sends"),
        (["ui"], "lab", "`podium ui` is for this machine and not for lab: open"),
        (["serve", "digits@champion"], "lab", "leave --cluster out, and give --tracking-uri"),
        (["launch", "no-such.yaml"], "lab", "no-such.yaml"),
        (["launch", "sweep.yaml", "--detach"], "local", "--detach is for a cluster elsewhere"),
    ],
)
def test_what_cannot_be_handed_on_is_refused_here(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str], cluster: str, said: str
) -> None:
    monkeypatch.setenv("PODIUM_CLUSTER", cluster)
    named.add("lab", "http://127.0.0.1:9", None)
    refused = podium_here(tmp_path, *arguments)
    assert refused.code == 2, refused.problems
    assert said in refused.problems
    assert "idden" not in refused.problems
    assert len([line for line in refused.problems.splitlines() if not line.startswith("Asking")]) == 1


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """What a cluster called lab is asked to do, which answers nothing."""
    words: list[list[str]] = []

    def carry_out(_cluster: Cluster, command: list[str], *_: object, **_more: Any) -> Answer:
        words.append(command)
        return Answer(0, "", "", {})

    named.add("lab", "http://127.0.0.1:9", None)
    monkeypatch.setattr(elsewhere, "carry_out", carry_out)
    return words


@pytest.mark.parametrize(
    "command",
    [
        ["stop", "--trial", "0", "digits"],
        ["ledger", "show", "--trial", "0", "--json", "digits"],
        ["sync", "digits"],
        ["enqueue", "digits", "a=0", "b="],
    ],
)
def test_what_is_given_is_handed_on_as_it_is(tmp_path: Path, asked: list[list[str]], command: list[str]) -> None:
    assert podium_here(tmp_path, *command, "--cluster", "lab").code == 0
    assert asked == [command]


def test_no_restarts_are_handed_on(tmp_path: Path, asked: list[list[str]]) -> None:
    podium_here(tmp_path, "resume", "digits", "--restarts", "0", "--cluster", "lab")
    assert asked == [["plant", "digits", "--restarts", "0", "--", "resume", "digits"]]


def test_an_equal_launch_follows_and_another_is_refused(tmp_path: Path) -> None:
    def charge(content: str, *words: str) -> Charge:
        return Charge("launch", planting._command(Place.of(tmp_path), words), content, 1, "", "ada", {})

    running = charge("same", "launch", "sweep.yaml", "a=1")
    planting._require_like(running, charge("same", "launch", "sweep.yaml", "a=1", "--json"))
    planting._require_like(running, charge("", "resume", "launch"))
    for other in (charge("other", "launch", "sweep.yaml", "a=1"), charge("same", "launch", "sweep.yaml", "a=2")):
        with pytest.raises(Refused, match="was launched with something else; `podium resume launch` follows it"):
            planting._require_like(running, other)
    with pytest.raises(Refused, match="for ada, who resumed it as it had been launched"):
        planting._require_like(charge("", "resume", "launch"), running)


@pytest.mark.parametrize(
    ("heard", "said"),
    [((), "lab has not said that it took digits; give"), (("planted",), "digits runs on lab without")],
)
def test_who_leaves_is_told_whether_the_cluster_has_the_sweep(
    tmp_path: Path, asked: list[list[str]], monkeypatch: pytest.MonkeyPatch, heard: tuple[str, ...], said: str
) -> None:
    def leave(_cluster: Cluster, _words: list[str], hear: Callable[[str, str], None], **_more: Any) -> Answer:
        for kind in heard:
            hear(kind, "")
        raise KeyboardInterrupt

    monkeypatch.setattr(elsewhere, "carry_out", leave)
    left = podium_here(tmp_path, "resume", "digits", "--cluster", "lab")
    assert (left.code, said in left.problems, left.output) == (75, True, "")


def test_a_file_that_comes_back_is_said_to_be_where_it_is(
    tmp_path: Path, asked: list[list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    sent = {"report.html": b"<svg>"}
    monkeypatch.setattr(elsewhere, "carry_out", lambda *_, **_more: Answer(0, "", "", sent))
    done = podium_here(tmp_path, "compare", "digits", "--html", "pages/report.html", "--cluster", "lab")
    assert "what lab calls report.html is here pages/report.html" in done.problems
    assert (tmp_path / "pages" / "report.html").read_bytes() == b"<svg>"


def test_two_files_come_back_where_they_were_wanted(
    tmp_path: Path, asked: list[list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    wanted: list[Any] = []

    def carry_out(_cluster: Cluster, words: list[str], *_: object, gives: list[str], **_more: Any) -> Answer:
        wanted.append((words, gives))
        return Answer(0, "", "", {name: name.encode() for name in gives})

    monkeypatch.setattr(elsewhere, "carry_out", carry_out)
    podium_here(tmp_path, "report", "digits", "--cluster", "lab")
    podium_here(tmp_path, "report", "digits", "--pdf", "a/x.pdf", "--html", "b/x.html", "--cluster", "lab")
    assert wanted == [
        (["report", "digits"], ["digits-report.html", "digits-report.pdf"]),
        (["report", "--html", "x.html", "--pdf", "x.pdf", "digits"], ["x.html", "x.pdf"]),
    ]
    for path in ("digits-report.html", "digits-report.pdf", "a/x.pdf", "b/x.html"):
        assert (tmp_path / path).read_text() == Path(path).name


def test_a_study_comes_back_as_a_new_file_and_replaces_none(tmp_path: Path, asked: list[list[str]]) -> None:
    done = podium_here(tmp_path, "export", "digits", "--optuna", "sqlite:///study.db", "--cluster", "lab")
    assert (done.code, asked) == (0, [["export", "--optuna", "study.db", "digits"]])
    (tmp_path / "study.db").write_text("others")
    refused = podium_here(tmp_path, "export", "digits", "--optuna", "study.db", "--cluster", "lab")
    assert refused.code == 2
    assert "study.db is there already" in refused.problems
