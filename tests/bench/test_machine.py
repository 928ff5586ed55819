import platform

from smalti.bench import records
from smalti.bench.records import describe_machine


def test_the_machine_is_described_by_cores_and_processor_but_not_by_name():
    told = describe_machine()
    assert " of " in told and platform.machine() in told and "\n" not in told
    assert not platform.node() or platform.node() not in told


def test_the_processor_is_read_from_the_system(tmp_path, monkeypatch):
    (tmp_path / "cpuinfo").write_text("vendor_id\t: X\nmodel name\t: Imaginary CPU: 9000\n")
    monkeypatch.setattr(records, "CPU_INFO", tmp_path / "cpuinfo")
    assert "of Imaginary CPU: 9000, " in describe_machine()
    monkeypatch.setattr(records, "CPU_INFO", tmp_path / "absent")
    assert platform.machine() in describe_machine()
