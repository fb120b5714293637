"""Process settings: ports, URLs, secrets, directories. One TOML file plus environment, read once.

Every key can be overridden by an environment variable `ECG_GATEWAY__SECTION__KEY`. A secret may
be given as `KEY_file`, the path of a file that holds it (container secrets).
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, PlainSerializer

from config.keys import TrustedKey, read_key

Key = Annotated[TrustedKey, BeforeValidator(read_key), PlainSerializer(lambda key: str(key.path))]
"""Written as the path of its file, which is read when the settings are."""


class Section(BaseModel):
    """A section of the file: unknown keys are errors, values do not change."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Database(Section):
    """Where the truth is kept. Empty URL: SQLite in the data directory."""

    url: str = ""


class Broker(Section):
    """Who wakes the workers. Empty URL: a private Valkey server on a Unix socket in `run/`."""

    url: str = ""


class Storage(Section):
    """The blob directory and its limits."""

    disk_reserve_mb: int = Field(default=512, ge=0)


class Dicom(Section):
    """The DICOM listener."""

    enabled: bool = True
    host: str = "0.0.0.0"  # noqa: S104 - carts are other machines
    port: int = Field(default=11112, ge=0, le=65535)
    processes: int = Field(default=1, ge=1, le=64)
    max_pdu_bytes: int = Field(default=131072, ge=0, le=1 << 24)
    max_associations: int = Field(default=100, ge=1)
    max_associations_per_ae: int = Field(default=20, ge=1)
    acse_timeout_s: float = Field(default=30.0, gt=0)
    dimse_timeout_s: float = Field(default=30.0, gt=0)
    idle_timeout_s: float = Field(default=60.0, gt=0)
    max_object_mb: int = Field(default=256, ge=1)


class Hl7(Section):
    """The MLLP listener."""

    enabled: bool = True
    host: str = "0.0.0.0"  # noqa: S104 - interface engines are other machines
    port: int = Field(default=2575, ge=0, le=65535)
    max_message_mb: int = Field(default=64, ge=1)
    idle_timeout_s: float = Field(default=3600.0, gt=0)
    frame_timeout_s: float = Field(default=30.0, gt=0)
    max_connections: int = Field(default=200, ge=1)


class Console(Section):
    """The web console, its health and metrics endpoints. Loopback only until it has logins."""

    enabled: bool = True
    host: Literal["127.0.0.1", "::1", "localhost"] = "127.0.0.1"
    port: int = Field(default=8080, ge=0, le=65535)


class Worker(Section):
    """The scoring workers."""

    processes: int = Field(default=1, ge=1, le=64)
    threads: int = Field(default=0, ge=0, description="per process; 0 shares the cores out")
    runtime: Literal["auto", "openvino-int8", "openvino-bf16", "openvino-fp32", "torch"] = "auto"
    lease_s: float = Field(default=60.0, gt=0)
    max_attempts: int = Field(default=3, ge=1)
    sweep_s: float = Field(default=5.0, gt=0)


class Deliver(Section):
    """The courier."""

    lease_s: float = Field(default=30.0, gt=0)
    poll_s: float = Field(default=1.0, gt=0)


class Logging(Section):
    """Logs go to standard error and `logs/`; they never carry PHI."""

    level: Literal["debug", "info", "warning", "error"] = "info"
    format: Literal["console", "json"] = "console"


class Settings(Section):
    """Everything a process is told at start."""

    data_dir: Path = Path("data")
    bundles_dir: Path | None = None
    bundles_key: Key | None = None
    database: Database = Database()
    broker: Broker = Broker()
    storage: Storage = Storage()
    dicom: Dicom = Dicom()
    hl7: Hl7 = Hl7()
    console: Console = Console()
    worker: Worker = Worker()
    deliver: Deliver = Deliver()
    logging: Logging = Logging()

    @property
    def trusted(self) -> bytes | None:
        """The raw Ed25519 key that must have signed a bundle; None: no signature is asked for."""
        return self.bundles_key.raw if self.bundles_key else None

    @property
    def run_dir(self) -> Path:
        """Sockets, locks and `ports.json`."""
        return self.data_dir / "run"

    @property
    def database_url(self) -> str:
        """The SQLAlchemy URL in force."""
        return self.database.url or f"sqlite:///{self.data_dir / 'gateway.sqlite3'}"

    @property
    def broker_url(self) -> str:
        """The Celery broker URL in force."""
        return self.broker.url or f"redis+socket://{self.run_dir.absolute() / 'broker.sock'}"
