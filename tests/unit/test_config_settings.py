"""Process settings: where values come from, and what a person is told about a bad one."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest
from support.keys import make_keys

from config.errors import ConfigError
from config.loader import default_text, load_settings
from config.settings import Settings


def write(folder: Path, text: str) -> Path:
    path = folder / "gateway.toml"
    path.write_text(text, "utf-8")
    return path


def test_the_shipped_file_is_the_defaults_and_names_every_key():
    """The commented file and the schema cannot drift apart."""
    document = tomllib.loads(default_text("gateway.toml"))
    assert Settings.model_validate(document) == Settings()
    for name, field in Settings.model_fields.items():
        if hasattr(field.annotation, "model_fields"):
            assert set(document[name]) == set(field.annotation.model_fields), name
        else:
            assert re.search(rf"^(# )?{name} = ", default_text("gateway.toml"), re.MULTILINE)


def test_every_key_of_the_shipped_file_has_a_comment_above_it():
    """A newcomer reads the file and knows what each key does and in which unit."""
    lines = default_text("gateway.toml").splitlines()
    explained = False
    for line in lines:
        if line.startswith("#"):
            explained = True
        elif line.startswith("["):
            explained = line in ("[dicom]", "[hl7]", "[console]")  # `enabled` explains itself
        elif not line.strip():
            explained = False
        else:
            # keys that share one comment stand right below it; `host` of hl7 is told in dicom
            assert explained, line


def test_file_beats_default_environment_beats_file_and_data_beats_all(tmp_path: Path):
    """The order of precedence is the documented one."""
    path = write(tmp_path, 'data_dir = "d"\n[dicom]\nport = 104\nprocesses = 2\n')
    environ = {"ECG_GATEWAY__DICOM__PORT": "0", "ECG_GATEWAY__HL7__ENABLED": "false"}
    settings = load_settings(path, environ=environ)
    assert settings.dicom.port == 0
    assert settings.dicom.processes == 2
    assert settings.hl7.enabled is False
    assert settings.data_dir == tmp_path / "d"
    settings = load_settings(path, data_dir=tmp_path / "other", environ=environ)
    assert settings.data_dir == tmp_path / "other"


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("[dicom]\nport = 99999\n", ("line 2", "dicom.port = 99999", "at most 65535")),
        ("[dicom]\nprot = 104\n", ("line 2", "dicom.prot", "did you mean port?")),
        ('[hl7]\nport = "abc"\n', ("line 2", "hl7.port = 'abc'", "a whole number")),
        ('\n[logging]\nlevel = "loud"\n', ("line 3", "'loud'", "'debug', 'info'")),
        ("[console]\nenabled = 7\n", ("line 2", "console.enabled = 7", "true or false")),
        ("dicom = 3\n", ("line 1", "dicom = 3", "a [section]")),
        ("[dicom\n", ("line 1", "is not TOML")),
        ("[mistake]\n", ("line 1", "mistake", "is not a key")),
    ],
)
def test_a_bad_value_is_told_with_line_key_value_and_what_is_allowed(tmp_path: Path, text, parts):
    """The message is enough to mend the file."""
    with pytest.raises(ConfigError) as caught:
        load_settings(write(tmp_path, text), environ={})
    assert all(part in str(caught.value) for part in ("gateway.toml", *parts)), str(caught.value)


def test_every_problem_is_told_at_once(tmp_path: Path):
    """A person mends the file in one go."""
    path = write(tmp_path, "[dicom]\nport = -1\n[hl7]\nport = -1\n")
    with pytest.raises(ConfigError) as caught:
        load_settings(path, environ={"ECG_GATEWAY__WORKER__PROCESSES": "0"})
    assert [problem.where for problem in caught.value.problems] == [
        "gateway.toml, line 2",
        "gateway.toml, line 4",
        "environment variable ECG_GATEWAY__WORKER__PROCESSES",
    ]


def test_a_mistyped_environment_variable_is_refused():
    """A typing error in a container's environment does not pass in silence."""
    with pytest.raises(ConfigError, match=r"ECG_GATEWAY__DICOM__PROT.*did you mean port"):
        load_settings(environ={"ECG_GATEWAY__DICOM__PROT": "104"})


def test_a_secret_comes_from_a_file_by_file_or_environment(tmp_path: Path):
    """Container secrets work; the trailing line end is not part of the secret."""
    (tmp_path / "secret").write_text("postgresql+psycopg://u:p@h/d\n", "utf-8")
    by_file = load_settings(write(tmp_path, '[database]\nurl_file = "secret"\n'), environ={})
    variable = {"ECG_GATEWAY__DATABASE__URL_FILE": str(tmp_path / "secret")}
    by_variable = load_settings(environ=variable)
    assert by_file.database_url == by_variable.database_url == "postgresql+psycopg://u:p@h/d"


def test_a_missing_secret_file_is_told(tmp_path: Path):
    """The message names the key and the path."""
    path = write(tmp_path, '[broker]\nurl_file = "nowhere"\n')
    with pytest.raises(ConfigError, match=r"line 2: broker.url_file = .*nowhere: .*No such file"):
        load_settings(path, environ={})


def test_the_key_of_bundles_is_read_with_the_settings(tmp_path: Path):
    """PEM or raw bytes, beside the file; none is asked for where none is named."""
    _, public = make_keys(tmp_path)
    path = write(tmp_path, 'bundles_key = "site.pub"\n')
    settings = load_settings(path, environ={})
    assert settings.bundles_key.path == public
    public.write_bytes(settings.trusted)
    assert load_settings(path, environ={}).trusted == settings.trusted
    named = {"ECG_GATEWAY__BUNDLES_KEY": str(public)}
    assert load_settings(environ=named).trusted == settings.trusted
    assert load_settings(environ={}).trusted is None


@pytest.mark.parametrize(
    ("given", "why"),
    [
        ('"nowhere.pub"', "No such file"),
        ('""', "Is a directory"),
        ('"site.pem"', "it holds no Ed25519 public key"),
        ('"gateway.toml"', "it holds no Ed25519 public key"),
        ("7", 'a path in "quotes"'),
    ],
)
def test_a_key_of_bundles_that_cannot_be_read_ends_the_start(tmp_path: Path, given, why):
    """It never passes in silence: unsigned bundles would be served."""
    make_keys(tmp_path)
    path = write(tmp_path, f"bundles_key = {given}\n")
    with pytest.raises(ConfigError, match=f"line 1: bundles_key = .*: allowed is .*{why}"):
        load_settings(path, environ={})


def test_a_secret_is_never_shown_in_a_message(tmp_path: Path):
    """A bad URL may hold a password."""
    path = write(tmp_path, "[database]\nurl = [1]\n[broker]\nurl = 77\n")
    with pytest.raises(ConfigError) as caught:
        load_settings(path, environ={})
    assert "77" not in str(caught.value)
    assert "***" in str(caught.value)


def test_a_missing_file_is_told(tmp_path: Path):
    """A wrong --config is an error, not a start with defaults."""
    with pytest.raises(ConfigError, match="cannot be read: No such file"):
        load_settings(tmp_path / "absent.toml", environ={})


def test_urls_default_to_the_data_directory(tmp_path: Path):
    """Embedded defaults: SQLite and a Unix socket inside the data directory."""
    settings = load_settings(data_dir=tmp_path, environ={})
    assert settings.database_url == f"sqlite:///{tmp_path}/gateway.sqlite3"
    assert settings.broker_url == f"redis+socket://{tmp_path}/run/broker.sock"
