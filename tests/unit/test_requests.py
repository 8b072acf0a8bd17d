"""Bodies, query strings and path ids: accepted values, and the error for every bad field."""

import json
from collections.abc import Mapping

import pytest
from pydantic import SecretStr
from starlette.requests import ClientDisconnect, Request
from starlette.types import Message

from service.access import errors as access_errors
from service.api import bodies, queries
from service.api.bodies import TakeOverParam
from service.api.queries import ClusterQuery, LogQuery, TaskQuery
from service.http import field_errors, requests
from service.http.request_types import RequestModel
from service.model import errors as model_errors
from service.model.errors import (
    BodyTooLarge,
    InvalidRequest,
    MalformedBody,
    SortNotAllowed,
    SubError,
    TakeoverError,
    UnsupportedMediaType,
)
from service.model.fleet import HostFilter
from service.model.tasks import TaskFilter, TaskStatus
from service.model.types import BY_ID, Order, Page
from service.tasks import errors as tasks_errors

LIMIT = 4096
SECRET = "S3cret#0"
LARGEST = 2**63 - 1
SORT_RULE = "sort must be 'id,asc', 'id,desc', 'name,asc' or 'name,desc';"


def request(
    *chunks: bytes,
    query: bytes = b"",
    path: Mapping[str, str] | None = None,
    content_type: str | None = "application/json",
) -> Request:
    """Return a request whose body comes in `chunks`; the caller hangs up after the last one when that is `None`."""
    messages: list[Message] = [{"type": "http.request", "body": chunk, "more_body": True} for chunk in chunks]
    messages.append({"type": "http.request", "body": b"", "more_body": False})
    headers = [(b"content-type", content_type.encode())] if content_type is not None else []

    async def receive() -> Message:
        return messages.pop(0)

    scope = {"type": "http", "method": "POST", "path": "/", "headers": headers, "query_string": query}
    return Request({**scope, "path_params": path or {}}, receive)


async def take_over(
    *chunks: bytes, content_type: str | None = "application/json", hosts_limit: int = 3
) -> TakeOverParam:
    context = TakeOverParam.context(hosts_limit)
    return await requests.parse_body(
        request(*chunks, content_type=content_type), TakeOverParam, limit=LIMIT, context=context
    )


async def errors_of(content: object) -> list[SubError]:
    body = content if isinstance(content, bytes) else json.dumps(content).encode()
    with pytest.raises(InvalidRequest) as error:
        await take_over(body)
    return list(error.value.sub_errors)


async def test_an_error_holds_nothing_of_the_request() -> None:
    body = json.dumps({"hosts": [{"hostId": "x", "proxysysPasswd": SECRET}]}).encode()
    with pytest.raises(InvalidRequest) as refusal:
        await take_over(body)

    assert refusal.value.__context__ is None and refusal.value.__cause__ is None


async def test_takes_the_sample_body_and_a_password() -> None:
    body = await take_over(
        b'{"hosts": [{"hostId": 1, "sqlPort": 2883}, {"hostId": 2, "sqlPort": 1, "proxysysPasswd": "p"}]}'
    )

    assert [(host.host_id, host.sql_port, host.proxysys_passwd) for host in body.hosts] == [
        (1, 2883, None),
        (2, 1, SecretStr("p")),
    ]
    assert "'p'" not in repr(body)


@pytest.mark.parametrize(
    ("said", "means"),
    [
        ("", None),
        (', "allowRestart": null', None),
        (', "allowRestart": true', True),
        (', "allowRestart": false', False),
    ],
)
async def test_takes_a_restart_permission(said: str, means: bool | None) -> None:
    body = await take_over(b'{"hosts": [{"hostId": 1, "sqlPort": 2883, "allowRestart": 7}]%s}' % said.encode())
    assert body.allow_restart is means


@pytest.mark.parametrize(("value", "shown"), [("true", '"true"'), (1, "1"), ([True], "a list"), ({}, "an object")])
async def test_a_restart_permission_is_a_boolean(value: object, shown: str) -> None:
    (error,) = await errors_of({"hosts": [{"hostId": 1, "sqlPort": 1}], "allowRestart": value})
    assert (error.field, error.message) == ("allowRestart", f"allowRestart must be true or false; it is {shown}.")


@pytest.mark.parametrize(
    "body",
    [
        b'{"hosts": [{"hostId": 1, "sqlPort": 2883, "unknown": {"deep": [1]}}], "page": 1}',
        b'{"hosts": [{"hostId": 1, "sqlPort": 2883, "proxysysPasswd": null}]}',
        b'\n {"hosts": [{"sqlPort": 65535, "hostId": 9223372036854775807}]} ',
        b'{"hosts": "overwritten", "hosts": [{"hostId": -5, "sqlPort": 1}]}',
    ],
)
async def test_takes_unusual_valid_bodies(body: bytes) -> None:
    assert (await take_over(body)).hosts


@pytest.mark.parametrize(
    "content_type", ["application/json", "Application/JSON; charset=utf-8", "application/json;a=b"]
)
async def test_takes_json_by_any_spelling(content_type: str) -> None:
    assert await take_over(b'{"hosts": [{"hostId": 1, "sqlPort": 1}]}', content_type=content_type)


@pytest.mark.parametrize(
    "content_type", [None, "", "text/plain", "application/x-www-form-urlencoded", "application/jsonp"]
)
async def test_rejects_other_content_types(content_type: str | None) -> None:
    with pytest.raises(UnsupportedMediaType, match="send application/json"):
        await take_over(b"{}", content_type=content_type)


@pytest.mark.parametrize(
    ("content", "field", "message", "rejected"),
    [
        ({}, "hosts", "hosts is required.", None),
        (None, "body", "body must be an object; it is null.", None),
        ([], "body", "body must be an object; it is a list.", None),
        ("hosts", "body", 'body must be an object; it is "hosts".', "hosts"),
        ({"hosts": None}, "hosts", "hosts must be a list; it is null.", None),
        ({"hosts": {}}, "hosts", "hosts must be a list; it is an object.", None),
        ({"hosts": []}, "hosts", "hosts must not be empty.", None),
        ({"hosts": [{}] * 4}, "hosts", "hosts must have at most 3 elements; it has 4.", None),
        ({"hosts": [7]}, "hosts[0]", "hosts[0] must be an object; it is 7.", 7),
        ({"hosts": [{"sqlPort": 1}]}, "hosts[0].hostId", "hosts[0].hostId is required.", None),
        ({"hosts": [{"hostId": 1}]}, "hosts[0].sqlPort", "hosts[0].sqlPort is required.", None),
    ],
)
async def test_names_the_field_the_rule_and_the_value(
    content: object, field: str, message: str, rejected: object
) -> None:
    assert await errors_of(content) == [
        SubError(field=field, message=message, object="obproxyTakeOverParam", rejected_value=rejected)
    ]


@pytest.mark.parametrize(
    ("value", "rule", "shown", "rejected"),
    [
        ("1.0", "must be an integer", '"1.0"', "1.0"),
        (1.5, "must be an integer", "1.5", 1.5),
        (1e300, "must be an integer", "1e+300", 1e300),
        (True, "must be an integer", "true", True),
        (None, "must be an integer", "null", None),
        ([1], "must be an integer", "a list", None),
        ({"a": 1}, "must be an integer", "an object", None),
        (float("nan"), "must be an integer", "nan", None),
        (float("-inf"), "must be an integer", "-inf", None),
        ("é" * 101, "must be an integer", f'"{"é" * 100}…"', "é" * 100 + "…"),
        (LARGEST + 1, f"must be at most {LARGEST}", str(LARGEST + 1), LARGEST + 1),
        (-LARGEST - 2, f"must be at least {-LARGEST - 1}", str(-LARGEST - 2), -LARGEST - 2),
    ],
)
async def test_a_long_is_a_json_integer_of_64_bits(value: object, rule: str, shown: str, rejected: object) -> None:
    (error,) = await errors_of({"hosts": [{"hostId": value, "sqlPort": 1}]})

    assert error.message == f"hosts[0].hostId {rule}; it is {shown}."
    assert error.rejected_value == rejected


@pytest.mark.parametrize(
    ("host_id", "sql_port", "read"),
    [("1", "2883", (1, 2883)), (1.0, 2883.0, (1, 2883)), (str(LARGEST), "1", (LARGEST, 1)), ("-5", 1, (-5, 1))],
)
async def test_takes_integers_as_strings_and_whole_floats(
    host_id: object, sql_port: object, read: tuple[int, int]
) -> None:
    body = await take_over(json.dumps({"hosts": [{"hostId": host_id, "sqlPort": sql_port}]}).encode())

    assert [(host.host_id, host.sql_port) for host in body.hosts] == [read]


async def test_the_same_host_in_two_spellings_is_there_twice() -> None:
    (error,) = await errors_of({"hosts": [{"hostId": 1, "sqlPort": 1}, {"hostId": "1", "sqlPort": 2}]})

    assert error.message == 'hosts[1].hostId must not occur twice; it is "1".'


@pytest.mark.parametrize(("port", "rule"), [(0, "at least 1"), (-1, "at least 1"), (65536, "at most 65535")])
async def test_a_port_is_in_its_range(port: int, rule: str) -> None:
    (error,) = await errors_of({"hosts": [{"hostId": 1, "sqlPort": port}]})

    assert error.message == f"hosts[0].sqlPort must be {rule}; it is {port}."


async def test_names_every_bad_field_at_once() -> None:
    errors = await errors_of(
        {
            "hosts": [
                {"hostId": 1, "sqlPort": 0},
                {"hostId": 1, "sqlPort": 2883},
                {"sqlPort": "one", "proxysysPasswd": 5},
            ]
        }
    )

    assert [error.field for error in errors] == [
        "hosts[0].sqlPort",
        "hosts[1].hostId",
        "hosts[2].hostId",
        "hosts[2].sqlPort",
        "hosts[2].proxysysPasswd",
    ]
    assert errors[1].message == "hosts[1].hostId must not occur twice; it is 1."


@pytest.mark.parametrize(
    "host",
    [
        {"proxysysPasswd": SECRET},
        {"hostId": 1, "sqlPort": 1, "proxysysPasswd": [SECRET]},
        {"hostId": 1, "sqlPort": 1, "proxysysPasswd": {SECRET: SECRET}},
        {"hostId": 1, "sqlPort": 1, "proxysysPasswd": SECRET + "\0"},
        {"hostId": {"proxysysPasswd": SECRET}, "sqlPort": [SECRET]},
        [SECRET],
    ],
)
async def test_never_shows_a_password_again(host: object) -> None:
    for error in await errors_of({"hosts": [host]}):
        assert SECRET not in repr(error)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b" ",
        b"{",
        b'{"hosts": [1,]}',
        b"{'hosts': []}",
        b'{"hosts": []} x',
        b"\xef\xbb\xbf{}",
        b'{"hosts": "\xff"}',
        b'{"hosts": "\xc3"}',
        b'{"hosts": "\\ud800"}',
        b'{"hosts": "\\udc00\\ud800"}',
        b'{"hosts": "\0"}',
        b"\0",
        b"[" * LIMIT,
        b'{"a":' * (LIMIT // 5),
        b'{"hosts": ' + b"[" * 500 + b"]" * 500 + b"}",
        b'{"hosts": [{"hostId": ' + b"9" * (LIMIT - 50) + b"x}]}",
        '{"hosts": []}'.encode("utf-16"),
    ],
)
async def test_rejects_bodies_that_are_not_json(body: bytes) -> None:
    with pytest.raises(MalformedBody, match=r"^The request body is not valid JSON: .* at line"):
        await take_over(body)


async def test_integers_of_any_length_are_rejected_by_value_or_as_json() -> None:
    for digits in (20, 1000, 4000):
        (error,) = await errors_of(b'{"hosts": [{"sqlPort": 1, "hostId": %s}]}' % (b"9" * digits))
        assert error.message.startswith(f"hosts[0].hostId must be at most {LARGEST}; it is 99999")
    with pytest.raises(MalformedBody, match="number out of range"):
        await requests.parse_body(
            request(b"9" * 5000), TakeOverParam, limit=10_000, context=TakeOverParam.context(hosts_limit=1)
        )


async def test_stops_reading_at_the_limit() -> None:
    chunks = [b" " * 1000] * 100
    endless = request(*chunks)

    with pytest.raises(BodyTooLarge, match=f"{LIMIT} bytes"):
        await requests.parse_body(endless, TakeOverParam, limit=LIMIT, context=TakeOverParam.context(hosts_limit=1))

    left = 0
    while (await endless.receive())["more_body"]:
        left += 1
    assert left == len(chunks) - LIMIT // 1000 - 1


async def test_takes_a_body_of_exactly_the_limit() -> None:
    body = b'{"hosts": [{"hostId": 1, "sqlPort": 1}]}'

    assert await take_over(body, b" " * (LIMIT - len(body)))


def test_rejects_more_objects_than_the_limit() -> None:
    few, many = (b'{"hosts": [' + b",".join([b"{}"] * count) + b"]}" for count in (1000, requests.BRACKET_LIMIT))

    with pytest.raises(InvalidRequest, match="hostId is required"):
        requests.parse_json(few, TakeOverParam, context=TakeOverParam.context(hosts_limit=1000))
    with pytest.raises(InvalidRequest, match="at most 50000 opening brackets"):
        requests.parse_json(many, TakeOverParam, context=TakeOverParam.context(hosts_limit=10**6))


async def test_reports_a_disconnected_caller() -> None:
    async def receive() -> Message:
        return {"type": "http.disconnect"}

    scope = {"type": "http", "headers": [(b"content-type", b"application/json")]}
    with pytest.raises(ClientDisconnect):
        await requests.parse_body(Request(scope, receive), TakeOverParam, limit=1, context={})


def test_reads_the_list_query() -> None:
    text = b"name=a%20b&status=RUNNING,FAILED&type=MANUAL&hostId=-3&page=2&size=2000&sort=id,asc&whatever=%00"
    query = requests.parse_query(request(query=text), TaskQuery)

    assert query.page == Page(number=2, size=2000)
    assert query.filter == TaskFilter(
        name="a b",
        statuses=[TaskStatus.RUNNING, TaskStatus.FAILED],
        type="MANUAL",
        host_id=-3,
        order=Order(field="id", descending=False),
    )


@pytest.mark.parametrize("text", [b"", b"name=&status=&page=&sort=&hostId=", b"&&=&a", b"sort=id,desc"])
def test_empty_values_are_not_given(text: bytes) -> None:
    query = requests.parse_query(request(query=text), TaskQuery)

    assert (query.filter, query.page) == (TaskFilter(), Page())


@pytest.mark.parametrize("text", [b"clusterId=1", b"clusterName=a", b"cluterName=a", b"tenantId=1", b"tenantName=a"])
def test_nothing_belongs_to_an_oceanbase_cluster(text: bytes) -> None:
    assert requests.parse_query(request(query=text), TaskQuery).filter is None


def test_a_parameter_that_is_there_twice_is_joined_by_a_comma() -> None:
    query = requests.parse_query(request(query=b"status=RUNNING&status=FAILED"), TaskQuery)

    assert query.status == [TaskStatus.RUNNING, TaskStatus.FAILED]


@pytest.mark.parametrize(
    ("text", "field", "message"),
    [
        (b"page=0", "page", "page must be at least 1; it is 0."),
        (b"page=2147483648", "page", "page must be at most 2147483647; it is 2147483648."),
        (b"page=1&page=2", "page", 'page must be an integer; it is "1,2".'),
        (b"page=1.0", "page", 'page must be an integer; it is "1.0".'),
        (b"page=+1", "page", 'page must be an integer; it is " 1".'),
        (b"page=%D9%A3", "page", 'page must be an integer; it is "٣".'),
        (b"size=2001", "size", "size must be at most 2000; it is 2001."),
        (b"size=-1", "size", "size must be at least 1; it is -1."),
        (b"hostId=x", "hostId", 'hostId must be an integer; it is "x".'),
        (b"hostId=9223372036854775808", "hostId", f"hostId must be at most {LARGEST}; it is {LARGEST + 1}."),
        (b"hostId=" + b"9" * 5000, "hostId", f'hostId must be an integer; it is "{"9" * 100}…".'),
        (b"clusterId=x", "clusterId", 'clusterId must be an integer; it is "x".'),
        (b"status=DONE", "status[0]", "status[0] must be 'RUNNING', 'FAILED' or 'SUCCESSFUL'; it is \"DONE\"."),
        (b"status=RUNNING,", "status[1]", "status[1] must be 'RUNNING', 'FAILED' or 'SUCCESSFUL'; it is \"\"."),
        (b"status=" + b"X," * 30_000, "status", "status must have at most 10 elements; it has 30001."),
        (b"sort=type,asc", "sort", SORT_RULE + ' it is "type,asc".'),
        (b"sort=id,up", "sort", SORT_RULE + ' it is "id,up".'),
        (b"name=%00", "name", 'name must not contain control characters; it is "\\u0000".'),
        (b"tenantName=%0a", "tenantName", 'tenantName must not contain control characters; it is "\\n".'),
        (b"name=%ff", "query", "The query string must be percent-encoded UTF-8 with at most 100 parameters."),
        (b"name=%ed%a0%80", "query", "The query string must be percent-encoded UTF-8 with at most 100 parameters."),
        (b"name=\xff", "query", "The query string must be percent-encoded UTF-8 with at most 100 parameters."),
        (b"a=1&" * 101, "query", "The query string must be percent-encoded UTF-8 with at most 100 parameters."),
    ],
)
def test_rejects_bad_queries(text: bytes, field: str, message: str) -> None:
    with pytest.raises(InvalidRequest) as error:
        requests.parse_query(request(query=text), TaskQuery)

    (sub_error,) = error.value.sub_errors
    assert (sub_error.field, sub_error.message, sub_error.object) == (field, message, "query")


def test_names_every_bad_parameter_at_once() -> None:
    with pytest.raises(InvalidRequest) as error:
        requests.parse_query(request(query=b"type=X&size=0&page=a&sort=x&status=A,B"), TaskQuery)

    fields = {sub_error.field for sub_error in error.value.sub_errors}
    assert fields == {"type", "size", "page", "sort", "status[0]", "status[1]"}


@pytest.mark.parametrize("text", [b"name=%", b"name=%zz", b"name=%u0041", b"name=100%"])
def test_a_percent_sign_that_encodes_nothing_is_itself(text: bytes) -> None:
    assert requests.parse_query(request(query=text), TaskQuery).name == text.decode().removeprefix("name=")


@pytest.mark.parametrize(
    ("text", "order"),
    [
        (b"", Order(descending=True)),
        (b"sort=id", Order(field="id", descending=False)),
        (b"sort=id,DESC", Order(descending=True)),
        (b"sort=id%2CAsc", Order()),
        (b"sort=name", Order(field="name")),
        (b"sort=name,desc", Order(field="name", descending=True)),
        (b"sort=name&sort=DESC", Order(field="name", descending=True)),
    ],
)
def test_reads_the_order(text: bytes, order: Order) -> None:
    assert requests.parse_query(request(query=text), TaskQuery).order == order


def test_hosts_and_clusters_are_in_the_order_of_their_ids() -> None:
    assert HostFilter().order == BY_ID == Order(field="id", descending=False)
    assert requests.parse_query(request(), ClusterQuery).order == BY_ID


@pytest.mark.parametrize(
    "text", [b"sort=status", b"sort=ID", b"sort=id,up", b"sort=id,asc,name", b"sort=,", b"sort=,asc"]
)
def test_other_orders_are_rejected(text: bytes) -> None:
    with pytest.raises(SortNotAllowed, match=f"^{SORT_RULE} it is "):
        requests.parse_query(request(query=text), TaskQuery)


def test_names_unknown_and_valid_query_parameters() -> None:
    with pytest.raises(InvalidRequest) as error:
        requests.reject_unknown_parameters(request(query=b"hostName=x&after=1&%s=1" % (b"y" * 200)), LogQuery)

    first, second = error.value.sub_errors
    assert first == SubError(
        field="hostName",
        message="hostName is not a query parameter of this operation, which has after.",
        object="query",
    )
    assert second.field == "y" * 100 + "…"
    requests.reject_unknown_parameters(request(query=b"after=1"), LogQuery)


def test_an_operation_without_parameters_takes_none() -> None:
    with pytest.raises(InvalidRequest, match=r"^a is not a query parameter of this operation, which has none[.]$"):
        requests.reject_unknown_parameters(request(query=b"a=1"), None)
    requests.reject_unknown_parameters(request(), None)


def keyed(*keys: bytes) -> Request:
    return Request({"type": "http", "headers": [(b"idempotency-key", key) for key in keys]})


def test_several_idempotency_keys_are_one_or_rejected() -> None:
    assert requests.idempotency_key(keyed()) is None
    assert requests.idempotency_key(keyed(b"a", b"a")) == "a"
    with pytest.raises(InvalidRequest, match="must be one key; there are 2 different ones"):
        requests.idempotency_key(keyed(b"a", b"b"))


def test_after_is_a_long() -> None:
    assert requests.parse_query(request(query=b"after=0"), LogQuery).after == 0
    with pytest.raises(InvalidRequest, match="after must be an integer"):
        requests.parse_query(request(query=b"after=x"), LogQuery)


@pytest.mark.parametrize(("text", "value"), [("1", 1), ("007", 7), ("-1", -1), (str(LARGEST), LARGEST)])
def test_reads_a_path_id(text: str, value: int) -> None:
    assert requests.path_id(request(path={"id": text}), "id") == value


@pytest.mark.parametrize("text", ["x", "1.0", "1,2", " 1", "1e3", "0x10", "\0", "é", "9" * 19, "9" * 5000, "null", "-"])
def test_rejects_other_path_ids(text: str) -> None:
    with pytest.raises(InvalidRequest, match=r"^id must be "):
        requests.path_id(request(path={"id": text}), "id")


def test_every_secret_field_is_on_the_list_of_those_never_shown() -> None:
    models = [
        model
        for module in (bodies, queries)
        for model in vars(module).values()
        if isinstance(model, type) and issubclass(model, RequestModel)
    ]
    names = {
        field.alias for model in models for field in model.model_fields.values() if "SecretStr" in str(field.annotation)
    }

    assert names == field_errors.SECRET_FIELDS


def test_every_error_has_a_message() -> None:
    kinds = [kind for module in (model_errors, access_errors, tasks_errors) for kind in vars(module).values()]
    said = [kind.__doc__ or "" for kind in kinds if isinstance(kind, type) and issubclass(kind, TakeoverError)]
    assert len(said) > 30 and all(map(str.strip, said))
