"""What the agent's sensors read, on a real display, of real processes, from the kernel's own files."""

from __future__ import annotations

import shutil
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
from agent_lab import running_agent
from touched_display import touched_display

from openstall.compute_agent import sensors_machine
from openstall.compute_agent.processes import processor_s
from openstall.compute_agent.sensors import Sensors
from openstall.compute_agent.sensors_input import InputSensor
from openstall.compute_agent.sensors_machine import LoadSensor, PackagePower, fans, running_apps
from openstall.compute_agent.wire import Watch
from openstall.market.house import Facts

BURN = "import os\nprint(flush=True)\nwhile True: pass"


@pytest.fixture(autouse=True)
def no_other_display(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("DISPLAY", "WAYLAND_DISPLAY", "DBUS_SESSION_BUS_ADDRESS"):
        monkeypatch.delenv(name, raising=False)


def test_the_last_touch_is_read_from_the_display(monkeypatch: pytest.MonkeyPatch) -> None:
    with touched_display() as display:
        monkeypatch.setenv("DISPLAY", display.name)
        sensor = InputSensor()
        display.touch()
        began = time.monotonic()
        first, by = sensor.read()
        assert by == "X server"
        assert first is not None
        while time.monotonic() < began + 0.5:
            later = sensor.read()[0]
        assert later is not None
        assert later >= 400
        touched = display.touch()
        again = sensor.read()[0]
        assert again is not None
        assert again <= (time.monotonic() - touched) * 1000 + 50


async def test_a_display_that_dies_does_not_take_the_agent_and_its_jobs_with_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with touched_display() as display:
        monkeypatch.setenv("DISPLAY", display.name)
        async with running_agent() as client:
            pid = client.pid
            assert (await client.sense(Watch(input=True))).input_by == "X server"
            display.process.kill()
            display.process.wait()
            assert (await client.sense(Watch(input=True))).input_by != "X server"
            assert (await client.sense(Watch(input=True))).input_by != "X server"
            assert client.pid == pid


@pytest.mark.parametrize("name", ["quake", "a-game-with-a-very-long-name"])
def test_a_program_is_found_by_name_and_only_while_it_runs(tmp_path: Path, name: str) -> None:
    program = tmp_path / name
    shutil.copy("/bin/sleep", program)
    assert running_apps([name]) == ()
    with subprocess.Popen([str(program), "60"]) as process:
        command = Path(f"/proc/{process.pid}/cmdline")
        while not command.read_bytes():  # the kernel sets it a moment after the name
            assert process.poll() is None
        assert running_apps([name.upper(), "another"]) == (name.upper(),)
        process.kill()
    assert running_apps([name]) == ()


def test_the_load_of_others_leaves_out_our_own_jobs() -> None:
    sensor = LoadSensor()
    with subprocess.Popen([sys.executable, "-c", BURN], stdout=subprocess.PIPE) as job:
        assert job.stdout is not None
        job.stdout.readline()
        assert sensor.read() is None
        began, used = time.monotonic(), processor_s([job.pid])
        while time.monotonic() < began + 1.5:
            assert running_apps(["none"]) == ()
        others = sensor.read()
        share = 100 * (processor_s([job.pid]) - used) / (time.monotonic() - began) / (psutil.cpu_count() or 1)
        job.kill()
    assert others is not None
    assert share > 2, "the job got no processor time to leave out"
    assert others <= 100 - share + 5


def test_energy_counters_become_watts_and_a_counter_that_wraps_does_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sensors_machine, "_POWERCAP", tmp_path)
    for name, value in (("intel-rapl:0", 990_000), ("intel-rapl:0:0", 5)):
        (tmp_path / name).mkdir()
        (tmp_path / name / "energy_uj").write_text(f"{value}\n")
        (tmp_path / name / "max_energy_range_uj").write_text("1000000\n")
    sensor = PackagePower()
    began = time.monotonic()
    assert sensor.read() is None
    while time.monotonic() < began + 0.5:
        pass
    (tmp_path / "intel-rapl:0" / "energy_uj").write_text("490000\n")  # 0.5 J later, over the top
    found = sensor.read()
    assert found is not None
    assert 0.3 * 1000 <= found <= 1000  # half a joule in half a second, and a slow machine


def test_a_fan_is_read_by_its_drive(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sensors_machine, "_HWMON", tmp_path)
    assert fans()[1] is None
    (tmp_path / "hwmon0").mkdir()
    (tmp_path / "hwmon0" / "pwm1").write_text("51\n")
    (tmp_path / "hwmon0" / "pwm2").write_text("204\n")
    assert fans()[1] == 80


def test_what_was_not_asked_for_is_not_read() -> None:
    found = Sensors().read(Watch())
    assert found == Facts(memory_free_bytes=found.memory_free_bytes, disk_free_bytes=found.disk_free_bytes)
    assert found.memory_free_bytes > 0
    assert found.disk_free_bytes > 0


def test_a_sensor_that_fails_cannot_tell_and_the_others_can(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken() -> None:
        raise RuntimeError("the driver is gone")

    monkeypatch.setattr(psutil, "sensors_battery", broken)
    monkeypatch.setattr(psutil, "cpu_times", broken)
    sensors = Sensors()
    for _ in range(2):
        found = sensors.read(Watch(battery=True, load=True, apps=("pytest-is-not-named-so",)))
        assert (found.on_battery, found.others_percent, found.apps) == (None, None, ())
        assert found.memory_free_bytes > 0
