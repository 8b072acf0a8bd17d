"""Signatures: every published one, our own, and every way to have it slightly wrong."""

import base64
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from service.access.request_signatures import CLOCK_SKEW, SignedRequest, sign, string_to_sign, verify

JSON = (b"content-type", b"application/json")
OWN = "0123456789abcdef0123456789abcdef"
V_4_0 = "2fc0c299cc94c6be266f2ceece765d4d"
V_4_3 = "d75332c5eed8d440a84a35ac6248d397"
HOST = (b"host", b"127.0.0.1:8080")
DATE = (b"date", b"Fri, 03 Sep 2021 08:25:08 GMT")
FROM_MCP = (b"x-ocp-origin", b"mcp-server")
BODY = b'{"hosts": [{"hostId": 1, "sqlPort": 2883}]}'
AUTHORITY = (b"host", b"ocp.alibaba.net:8080")


def request(method: str, target: bytes, *headers: tuple[bytes, bytes], body: bytes = b"") -> SignedRequest:
    path, _, query = target.partition(b"?")
    return SignedRequest(method=method, path=path, query=query, headers=headers, body=body)


TAKE_OVER = request("POST", b"/api/v2/obproxy/clusters/1/takeOver", HOST, JSON, DATE, FROM_MCP, body=BODY)
TAKE_OVER_SIGNATURE = "0Y09ptAV4vKySFpV52DJnJOkqS0="
NOW = datetime(2021, 9, 3, 8, 25, 8, tzinfo=UTC)
LIST = b"/api/v2/tasks/instances?name=Install%20obproxy&page=1&size=10&sort=id%2Cdesc&status=RUNNING%2CFAILED"
MONITOR = (
    b"/api/v2/monitor/top?metrics=host_disk_total&labels=svr_ip:127.0.0.1&groupBy=app,svr_ip,device,mount_point"
    b"&startTime=2024-04-15T14:29:55%2B08:00&endTime=2024-04-15T14:30:55%2B08:00&maxPoints=360"
)

VECTORS = {
    # The vendor's own: its pages on signing in the documentation of 4.3.4 and 4.0.3.
    "4.3.4 sample": (
        request(
            *("GET", MONITOR, HOST, JSON),
            *((b"x-ocp-origin", b"for-test"), (b"date", b"Mon, 15 Apr 2024 09:25:02 GMT")),
        ),
        V_4_3,
        "To11kg1EsB/dPWyDnnpuUzIUoQk=",
    ),
    "4.0.3 case 1": (
        request(
            *("POST", b"/api/v2/compute/idcs", JSON, (b"x-ocp-data", b"A"), (b"x-ocp-data", b"1")),
            *(AUTHORITY, (b"date", b"Tue, 17 Jan 2023 09:13:57 GMT")),
            body=b'{"name":"test01","description":"test","regionId":1}',
        ),
        V_4_0,
        "XN8P+O+v3vUabB16ZCooq5wMJoY=",
    ),
    "4.0.3 case 2": (
        request(
            *("GET", b"/api/v2/compute/idcs?size=100", (b"content-type", b"application/json;charset=utf-8")),
            *(AUTHORITY, (b"date", b"Tue, 17 Jan 2023 04:14:02 GMT")),
        ),
        V_4_0,
        "TsQD6HDOuZuJ409m0wdnZPmijlc=",
    ),
    # docs/reference/ocp-api.md 5.4
    "V1": (TAKE_OVER, OWN, TAKE_OVER_SIGNATURE),
    "V2": (request("GET", LIST, HOST, JSON, DATE, FROM_MCP), OWN, "VedTISlgxb2kcJ6UWT607Z2TjoE="),
    "V3": (
        request("POST", b"/api/v2/tasks/instances/33001/rollback", HOST, DATE),
        OWN,
        "lpBR/+KwxgcNyqCFqSauMbbvDkI=",
    ),
}


@pytest.mark.parametrize(("signed", "secret", "signature"), VECTORS.values(), ids=VECTORS)
def test_vectors(signed: SignedRequest, secret: str, signature: str) -> None:
    date = next(value for name, value in signed.headers if name == b"date")
    now = datetime.strptime(date.decode(), "%a, %d %b %Y %H:%M:%S GMT").replace(tzinfo=UTC)

    assert base64.b64encode(sign(secret, string_to_sign(signed, date))).decode() == signature
    proof = verify(signed, signature, secret, now)
    assert proof
    assert proof.expires == now + CLOCK_SKEW


def test_the_string_to_sign_has_seven_lines_and_an_md5_with_its_zeros() -> None:
    assert string_to_sign(TAKE_OVER, DATE[1]) == (
        b"POST\n9C69236D366186A9FFA662E9A33060C2\napplication/json\nFri, 03 Sep 2021 08:25:08 GMT\n127.0.0.1:8080\n"
        b"x-ocp-origin:mcp-server\n/api/v2/obproxy/clusters/1/takeOver"
    )
    assert string_to_sign(request("get", b"/"), b"") == b"GET\n\n\n\n\n\n/"
    with_zero = replace(TAKE_OVER, body=b"363")  # its MD5 begins with 00
    assert string_to_sign(with_zero, b"").splitlines()[1] == b"00411460F7C92D2124A67EA0F4CB5F85"


SKEWS = {
    timedelta(): True,
    CLOCK_SKEW: True,
    -CLOCK_SKEW: True,
    CLOCK_SKEW + timedelta(seconds=1): False,
    -CLOCK_SKEW - timedelta(seconds=1): False,
    timedelta(days=365): False,
}


@pytest.mark.parametrize(("off", "let_through"), SKEWS.items(), ids=map(str, SKEWS))
def test_fifteen_minutes_are_the_limit(off: timedelta, let_through: bool) -> None:
    assert (verify(TAKE_OVER, TAKE_OVER_SIGNATURE, OWN, NOW + off) is not None) is let_through


CHANGED = {
    "method": replace(TAKE_OVER, method="PUT"),
    "body": replace(TAKE_OVER, body=BODY + b" "),
    "no body": replace(TAKE_OVER, body=b""),
    "path": replace(TAKE_OVER, path=TAKE_OVER.path.replace(b"1", b"2")),
    "another spelling of the path": replace(TAKE_OVER, path=TAKE_OVER.path.replace(b"1", b"%31")),
    "query": replace(TAKE_OVER, query=b"a=1"),
    "host": replace(TAKE_OVER, headers=((b"host", b"127.0.0.1"), JSON, DATE, FROM_MCP)),
    "content type": replace(TAKE_OVER, headers=(HOST, (b"content-type", b"text/plain"), DATE, FROM_MCP)),
    "a header of OCP's taken away": replace(TAKE_OVER, headers=(HOST, JSON, DATE)),
    "a header of OCP's changed": replace(TAKE_OVER, headers=(HOST, JSON, DATE, (b"x-ocp-origin", b"x"))),
    "a header of OCP's added": replace(TAKE_OVER, headers=(*TAKE_OVER.headers, (b"x-ocp-b", b""))),
    "a header of OCP's twice": replace(TAKE_OVER, headers=(*TAKE_OVER.headers, FROM_MCP)),
    "date": replace(TAKE_OVER, headers=(HOST, JSON, (b"date", b"Fri, 03 Sep 2021 08:25:09 GMT"), FROM_MCP)),
    "no date": replace(TAKE_OVER, headers=(HOST, JSON, FROM_MCP)),
    "two dates": replace(TAKE_OVER, headers=(HOST, JSON, DATE, DATE, FROM_MCP)),
}


@pytest.mark.parametrize("changed", CHANGED.values(), ids=CHANGED)
def test_everything_that_is_signed_counts(changed: SignedRequest) -> None:
    assert verify(changed, TAKE_OVER_SIGNATURE, OWN, NOW) is None


def test_other_headers_do_not_count() -> None:
    more = replace(TAKE_OVER, headers=(*TAKE_OVER.headers, (b"x-ocpx", b"1"), (b"accept", b"*/*")))

    assert verify(more, TAKE_OVER_SIGNATURE, OWN, NOW)


@pytest.mark.parametrize(
    "signature",
    ["", "=", "é", "0Y09ptAV4vKySFpV52DJnJOkqS0", TAKE_OVER_SIGNATURE.lower(), TAKE_OVER_SIGNATURE + "\n", "AAAA", "!"],
)
def test_other_headers_are_no_signature(signature: str) -> None:
    assert verify(TAKE_OVER, signature, OWN, NOW) is None


@pytest.mark.parametrize("secret", ["", OWN.upper(), OWN[:-1]])
def test_another_secret_signs_otherwise(secret: str) -> None:
    assert verify(TAKE_OVER, TAKE_OVER_SIGNATURE, secret, NOW) is None


@pytest.mark.parametrize(
    "date",
    [
        b"",
        b"now",
        b"2021-09-03T08:25:08Z",
        b"Fri, 03 Sep 2021 08:25:08 -0000",
        b"Fri, 03 Sep 2021 08:25:08",
        b"Fri, 99 Sep 2021 08:25:08 GMT",
        b"\xff",
        b"Fri, 03 Sep 99999 08:25:08 GMT",
        b"Fri, 31 Dec 9999 23:59:59 -0100",
        b"Mon, 01 Jan 0001 00:00:00 +0100",
    ],
)
def test_an_invalid_date_is_rejected(date: bytes) -> None:
    undated = replace(TAKE_OVER, headers=(HOST, JSON, (b"date", date), FROM_MCP))
    signature = base64.b64encode(sign(OWN, string_to_sign(undated, date))).decode()

    assert verify(undated, signature, OWN, NOW) is None


def test_the_date_may_stand_in_the_other_header() -> None:
    """A browser or a proxy may not let a caller set Date."""
    for headers in [(HOST, (b"x-ocp-date", DATE[1])), (HOST, (b"date", b"mine"), (b"x-ocp-date", DATE[1]))]:
        dated = request("GET", b"/", *headers)
        signature = base64.b64encode(sign(OWN, string_to_sign(dated, DATE[1]))).decode()

        assert verify(dated, signature, OWN, NOW)


CANONICAL = {
    b"b=2&a=1": b"?a=1&b=2",
    b"a=2&a=1": b"?a=1%2C2",
    b"a=&a=1": b"?a=1",
    b"a": b"?a=",
    b"a=": b"?a=",
    b"a==": b"?a=%3D",
    b"&&": b"",
    b"": b"",
    b"a=%e4%b8%ad": b"?a=%E4%B8%AD",
    b"a=%ff": b"?a=%FF",
    b"a=%zz": b"?a=%25zz",
    b"%61=-._~": b"?a=-._~",
    b"a=x+y": b"?a=x%20y",
    b"a=*": b"?a=%2A",
}


@pytest.mark.parametrize(("query", "canonical"), CANONICAL.items(), ids=map(str, CANONICAL))
def test_queries_have_one_form(query: bytes, canonical: bytes) -> None:
    assert string_to_sign(request("GET", b"/p?" + query), b"").splitlines()[6] == b"/p" + canonical


def test_javas_way_to_encode_a_query_is_right_as_well() -> None:
    line = b"/p?a=x+y*%7E%2C%2B"
    signature = base64.b64encode(sign(OWN, b"GET\n\n\n%s\n127.0.0.1:8080\n\n%s" % (DATE[1], line))).decode()

    for query in (b"a=x+y*%7E%2C%2B", b"a=x%20y%2A~,%2b"):
        assert verify(request("GET", b"/p?" + query, HOST, DATE), signature, OWN, NOW)
