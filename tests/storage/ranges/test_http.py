"""Web servers that do not answer as they should."""

import pickle
import traceback

import pytest

from smalti.archive.read.reader import open_archive
from smalti.errors import NotAnArchiveError, SmaltiError, SourceError
from smalti.storage.ranges import http

SECRET = "X-Amz-Signature=5ec2e7"


def test_a_server_without_ranges_is_read_whole_once(large, web, monkeypatch):
    web.ranges = "none"
    with open_archive(web.url + "large.smalti") as archive:
        assert (archive[[5, 3500]] == large.pixels([5, 3500])).all() and len(web.asked) == 1
    monkeypatch.setattr(http, "WHOLE_BYTES", 1 << 20)
    with pytest.raises(SourceError, match=r"large\.smalti: the server gives no ranges .* 1 MiB .* download it first$"):
        open_archive(web.url + "large.smalti")


def test_a_server_that_stops_giving_ranges(web):
    with open_archive(web.url + "large.smalti") as archive:
        web.ranges = "none"
        with pytest.raises(SourceError, match="gives no ranges"):
            archive[0]


def test_a_server_without_ranges_from_the_end_is_asked_for_the_size(large, web):
    web.ranges = "no-suffix"
    with open_archive(web.url + "large.smalti") as archive:
        assert (len(web.gets), len(web.heads)) == (2, 1)  # one refused
        assert (archive[2000] == large.pixels([2000])[0]).all()


@pytest.mark.parametrize("failures", [[503], [500, 429], ["cut"], ["cut", 502]])
def test_failures_that_pass_are_tried_again(large, web, failures, monkeypatch):
    monkeypatch.setattr(http, "_WAIT_SECONDS", 0.01)
    web.failures = list(failures)
    with open_archive(web.url + "large.smalti") as archive:
        web.failures = list(failures)
        assert (archive[2000] == large.pixels([2000])[0]).all() and not web.failures


def test_failures_that_stay_are_one_line(web, monkeypatch):
    monkeypatch.setattr(http, "_WAIT_SECONDS", 0.01)
    url = web.url + "large.smalti"
    for failures, words in [([503] * 3, "answers 503 Service Unavailable, 3 times"), (["cut"] * 3, "cannot be read")]:
        web.failures, web.asked = failures, []
        with pytest.raises(SourceError, match=words) as caught:
            open_archive(url)
        assert str(caught.value).startswith(f"{url}: ") and "\n" not in str(caught.value) and len(web.gets) == 3
    web.failures, web.asked = [401], []
    with pytest.raises(SourceError, match="access was refused"):
        open_archive(url)
    with pytest.raises(SourceError, match="no such file"):
        open_archive(web.url + "absent.smalti")
    assert len(web.gets) == 2  # neither request is repeated
    with pytest.raises(NotAnArchiveError, match="not a smalti archive"):
        open_archive(web.url + "empty")
    with pytest.raises(SourceError, match="cannot be read: ClientConnectorError"):
        open_archive("http://127.0.0.1:1/a.smalti")


def error_of(function, argument):
    """An error as a log prints it, with its causes."""
    with pytest.raises(SmaltiError) as caught:
        function(argument)
    return "".join(traceback.format_exception(caught.value))


def test_signatures_and_passwords_are_never_told(large, web):
    web.query = SECRET
    plain = web.url.replace("http://", "http://user:hush@") + "large.smalti"
    with open_archive(f"{plain}?{SECRET}") as archive:
        assert (archive[3] == large.pixels([3])[0]).all()
        assert archive.path == web.url + "large.smalti" and "hush" not in repr(archive) and SECRET not in repr(archive)
        with pickle.loads(pickle.dumps(archive)) as again:  # the pickle has the whole URL all the same
            assert (again[2500] == large.pixels([2500])[0]).all()
        web.files["large.smalti"] = b""
        errors = [error_of(archive.__getitem__, 3500)]
    errors += [error_of(open_archive, f"{plain}?{SECRET}{more}") for more in ("wrong", "")]
    for told in errors:
        assert large.path.name in told and SECRET not in told and "hush" not in told
