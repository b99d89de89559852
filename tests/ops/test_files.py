"""What can't run on every machine, read by the tools that run it elsewhere."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any, Final

import pytest
import yaml

from app.settings import Settings, variable

pytestmark = pytest.mark.ops

ROOT: Final = Path(__file__).parents[2]
DEPLOY: Final = ROOT / "deploy"
DRAIN_SECONDS: Final = Settings.model_fields["drain_timeout_seconds"].default
SECRET: Final = "0123456789abcdef0123456789abcdef"


def tool(name: str, *arguments: object) -> str:
    """What a tool of the environment prints; it must succeed, and warn of nothing."""
    binary = Path(sys.executable).with_name(name)
    done = subprocess.run(
        [binary, *map(str, arguments)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stderr == ""
    return done.stdout


def seconds(text: str) -> float:
    """A duration as Compose prints it: ``40s``, ``1m30s``."""
    minutes, rest = re.fullmatch(r"(?:(\d+)m)?(?:(\d+)s)?", text).groups()  # type: ignore[union-attr]  # or fail
    return int(minutes or 0) * 60 + int(rest or 0)


@pytest.mark.parametrize("name", ["Dockerfile", "Dockerfile.cuda"])
def test_dockerfiles_are_linted(name: str) -> None:
    docker = DEPLOY / "docker"
    tool("hadolint", "--config", docker / ".hadolint.yaml", docker / name)


@pytest.mark.parametrize("name", ["Dockerfile", "Dockerfile.cuda"])
def test_what_images_copy_is_sent_to_the_builder(name: str) -> None:
    text = (DEPLOY / "docker" / name).read_text(encoding="utf-8")
    copied = {
        source
        for line in re.findall(r"^COPY (?!--)(.+)$", text, re.MULTILINE)
        for source in line.split()[:-1]
    }
    lines = (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()
    assert copied == {line[1:] for line in lines if line.startswith("!")}
    assert all((ROOT / source).exists() for source in copied)


def composed(tmp_path: Path) -> dict[str, Any]:
    example = (DEPLOY / "compose" / "production.env.example").read_text(encoding="utf-8")
    filled = tmp_path / "production.env"
    filled.write_text(re.sub(r"=$", f"={SECRET}", example, flags=re.MULTILINE), encoding="utf-8")
    production = DEPLOY / "compose" / "production.yaml"
    text = tool("docker-compose", "--env-file", filled, "-f", production, "config")
    parsed: dict[str, Any] = yaml.safe_load(text)
    return parsed


def test_compose_for_development_is_whole() -> None:
    text = tool("docker-compose", "-f", DEPLOY / "compose" / "development.yaml", "config")
    services = yaml.safe_load(text)["services"]
    assert set(services) == {"surtitle", "redis"}
    assert [port["host_ip"] for port in services["surtitle"]["ports"]] == ["127.0.0.1"]
    assert seconds(services["surtitle"]["stop_grace_period"]) > DRAIN_SECONDS


def test_compose_for_production_holds_together(tmp_path: Path) -> None:
    site = composed(tmp_path)
    services = site["services"]
    processes = {name for name in services if name.startswith("api-")}
    assert len(processes) >= 2
    for name in processes:
        drain = float(services[name]["environment"]["SURTITLE_DRAIN_TIMEOUT_SECONDS"])
        assert seconds(services[name]["stop_grace_period"]) > drain + 10
        known = {variable(field) for field in Settings.model_fields}
        assert set(services[name]["environment"]) - {"SURTITLE_METRICS_TOKEN"} <= known
    upstream = (DEPLOY / "compose" / "nginx.upstream.conf").read_text(encoding="utf-8")
    targets = yaml.safe_load((DEPLOY / "compose" / "prometheus.targets.yml").read_text())
    expected = {f"{name}:8000" for name in processes}
    assert set(re.findall(r"^server (\S+)", upstream, re.MULTILINE)) == expected
    assert set(targets[0]["targets"]) == expected
    nginx = services["nginx"]
    address = nginx["networks"]["inside"]["ipv4_address"]
    trusted = {services[name]["environment"]["SURTITLE_TRUSTED_PROXIES"] for name in processes}
    assert trusted == {address}
    # What strangers reach: NGINX. Everything else is of this machine, or of the inside.
    assert site["networks"]["inside"]["internal"]
    for name, service in services.items():
        reached = [port for port in service.get("ports", ()) if "host_ip" not in port]
        assert bool(reached) == (name == "nginx"), name
        assert service["deploy"]["resources"]["limits"]["memory"], name
        assert service["cap_drop"] == ["ALL"], name


def test_compose_does_not_start_without_its_secrets(tmp_path: Path) -> None:
    example = DEPLOY / "compose" / "production.env.example"
    production = DEPLOY / "compose" / "production.yaml"
    done = subprocess.run(
        [
            *(Path(sys.executable).with_name("docker-compose"), "--env-file", example),
            *("-f", production, "config", "--quiet"),
        ],
        env={"PATH": os.environ["PATH"], "HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode != 0
    for name in ("SURTITLE_ADMIN_KEY", "SURTITLE_PEPPER", "REDIS_PASSWORD", "GRAFANA_PASSWORD"):
        assert f"required variable {name} is missing" in done.stderr


def manifests(folder: Path) -> tuple[str, dict[tuple[str, str], dict[str, Any]]]:
    text = tool("kubectl", "kustomize", folder)
    parsed = [one for one in yaml.safe_load_all(text) if one]
    return text, {(one["kind"], one["metadata"]["name"]): one for one in parsed}


@pytest.fixture
def gpu_overlay() -> Path:
    """The overlay of the documentation, with the component for GPUs."""
    return DEPLOY / "kubernetes" / "overlays" / "gpu-example"


@pytest.mark.parametrize("version", ["1.30", "1.37"])
@pytest.mark.parametrize("overlay", ["example", "gpu-example"])
def test_manifests_are_of_the_schemas(tmp_path: Path, overlay: str, version: str) -> None:
    text, found = manifests(DEPLOY / "kubernetes" / "overlays" / overlay)
    # The one resource that is not of Kubernetes itself has no schema there.
    custom = {kind for kind, _ in found if kind == "ServiceMonitor"}
    assert custom == {"ServiceMonitor"}
    path = tmp_path / "manifests.yaml"
    path.write_text(
        yaml.safe_dump_all(one for (kind, _), one in found.items() if kind not in custom),
        encoding="utf-8",
    )
    tool("kubernetes-validate", "--strict", "--quiet", "-k", version, path)
    assert "captions.example.org" in text


def test_manifests_hold_together() -> None:
    _, found = manifests(DEPLOY / "kubernetes" / "overlays" / "example")
    deployment = found["Deployment", "surtitle"]
    pod = deployment["spec"]["template"]
    labels = pod["metadata"]["labels"].items()
    for kind, path in {
        "Deployment": ("spec", "selector", "matchLabels"),
        "Service": ("spec", "selector"),
        "PodDisruptionBudget": ("spec", "selector", "matchLabels"),
        "NetworkPolicy": ("spec", "podSelector", "matchLabels"),
    }.items():
        selector: Any = found[kind, "surtitle"]
        for step in path:
            selector = selector[step]
        assert selector
        assert selector.items() <= labels, kind
        redis = found["StatefulSet", "surtitle-redis"]["spec"]["template"]["metadata"]["labels"]
        assert not selector.items() <= redis.items(), kind
    service = found["Service", "surtitle"]["metadata"]["labels"]
    watched = found["ServiceMonitor", "surtitle"]["spec"]["selector"]["matchLabels"]
    assert watched.items() <= service.items()

    (container,) = pod["spec"]["containers"]
    (settings,) = [one for (kind, _), one in found.items() if kind == "ConfigMap"]
    drain = float(settings["data"]["SURTITLE_DRAIN_TIMEOUT_SECONDS"])
    waits = float(container["lifecycle"]["preStop"]["exec"]["command"][1])
    assert pod["spec"]["terminationGracePeriodSeconds"] > waits + drain + 10
    assert container["readinessProbe"]["httpGet"]["path"] == "/health/simple"
    assert container["livenessProbe"]["httpGet"]["path"] != "/health/simple"
    assert container["image"] != "surtitle"

    scaler = found["HorizontalPodAutoscaler", "surtitle"]["spec"]
    (metric,) = scaler["metrics"]
    adapter = yaml.safe_load((DEPLOY / "kubernetes" / "prometheus-adapter.yaml").read_text())
    (rule,) = adapter["rules"]["custom"]
    assert metric["pods"]["metric"]["name"] == rule["name"]["as"]


def test_the_gpu_variant_has_one(gpu_overlay: Path) -> None:
    _, found = manifests(gpu_overlay)
    (container,) = found["Deployment", "surtitle"]["spec"]["template"]["spec"]["containers"]
    assert container["resources"]["limits"]["nvidia.com/gpu"] == "1"
    assert {"name": "SURTITLE_DEVICE", "value": "cuda"} in container["env"]
    assert container["readinessProbe"]  # the patch took nothing away


@pytest.fixture
def unit(tmp_path: Path) -> Path:
    """The unit as it is installed, but for the program, which is not here."""
    text = (DEPLOY / "systemd" / "surtitle@.service").read_text(encoding="utf-8")
    program = "/opt/surtitle/bin/surtitle"
    assert f"ExecStart={program} serve\n" in text
    path = tmp_path / "surtitle@8001.service"
    path.write_text(text.replace(program, shutil.which("true") or ""), encoding="utf-8")
    return path


def test_the_unit_is_understood_whole(unit: Path) -> None:
    done = subprocess.run(
        ["/usr/bin/systemd-analyze", "verify", "--man=no", unit],
        capture_output=True,
        text=True,
        check=False,
    )
    complaints = [line for line in done.stderr.splitlines() if unit.name in line]
    assert (done.returncode, complaints) == (0, [])
    drain = re.search(r"TimeoutStopSec=(\d+)", unit.read_text(encoding="utf-8"))
    assert drain is not None
    assert float(drain[1]) > DRAIN_SECONDS + 10


def test_the_unit_is_hardened(unit: Path) -> None:
    done = subprocess.run(
        [
            *("/usr/bin/systemd-analyze", "security", "--offline=true", "--no-pager"),
            *("--threshold=20", unit),
        ],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout.splitlines()[-1]
