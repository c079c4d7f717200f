"""What ``ioto-async fleet`` reads."""

import csv
import io
import json
import os
import pickle
import threading
from collections.abc import Callable
from typing import Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ioto_async.cli.rows import BadRow, Row, RowError, read_rows
from ioto_async.emulator import EmulatorThread
from ioto_async.errors import InvalidArgumentError
from tests.rows import each_row

from .fleets import Fleet


@each_row(
    "text, options",
    {
        "JSONL": ('{"id":"DEV1"}\n{"id":"DEV2"}\n', []),
        "CRLF": ('\ufeff{"id": "DEV1", "name": "a"}\r\n\r\n{"name": null, "id": "DEV2"}', []),
        "JSONL by serial": ('{"serial":"DEV1","id":7}\n{"serial":"DEV2"}\n', ["--id-column", "serial"]),
        "CSV by serial": ("Serial,name\nDEV1,a\nDEV2,b\n", ["--id-column", "SERIAL"]),
        "CSV of one column by serial": ("serial\nDEV1\nDEV2\n", ["--id-column", "serial"]),
        "CSV with another column id": ("id,serial\nx,DEV1\nx,DEV2\n", ["--id-column", "serial"]),
        "columns without a name": ("id,name,,\nDEV1,a,,\nDEV2,b\n", []),
        "columns without a name in the header alone": ("id,,name,\nDEV1,,a,,,\nDEV2\n", []),
        "more cells than columns, but empty": ("id,name\nDEV1,a,,\nDEV2,,,,\n", []),
        "IDs with empty cells": ("DEV1,,\nDEV2,\n", []),
        "the index of pandas": (",id,name\n0,DEV1,a\n1,DEV2,b\n", []),
        "the index of pandas, written twice": ("Unnamed: 0,,id\n0,0,DEV1\n1,1,DEV2\n", []),
        "JSONL with an empty name": ('{"":"","id":"DEV1"}\n{"":null,"id":"DEV2"}\n', []),
        "a cell of three lines": ('id,name\nDEV1,"a\nDEV3\n\nDEV4"\nDEV2,b\n', []),
        "a cell of lines that end with CR": ('id,name\rDEV1,"a\rDEV3"\rDEV2,b\r', []),
        "a header of two lines": ('id,"site\nname"\nDEV1,a\nDEV2,b\n', []),
    },
)
def test_every_form_of_a_fleet_file_is_read(
    new_fleet: Callable[[], Fleet], cloud: EmulatorThread, text: str, options: list[str]
) -> None:
    fleet = new_fleet()
    fleet.write(text)
    result = fleet("claim", *options)
    assert (result.status, result.stderr, result.figures["claimed"]) == (0, "", 2)


@each_row(
    "text, options, problem",
    {
        "empty": ("", [], "no rows"),
        "a JSON array": ('[{"id":"DEV1"}]', [], "JSON array"),
        "no header for the column": ("DEV1\nDEV2\n", ["--id-column", "serial"], "no column serial"),
        "no such column": ("id,name\nDEV1,a\n", ["--id-column", "serial"], "no column serial"),
        "a header of one column": ("deviceId\nDEV1\n", [], "line 1: deviceId: looks like a header without"),
        "a header of one column, alone": ("serial_number\n", [], "line 1: serial_number: looks like a header"),
        "a header in capitals": ("\nSERIAL\nDEV1\n", [], "line 2: SERIAL: looks like a header"),
        "a header with spaces": ('"Claim ID"\nDEV1\n', [], "line 1: Claim ID: looks like a header"),
        "a header in another language": ("Seriennummer,\nDEV1,\n", [], "line 1: Seriennummer: looks like a header"),
        "a header with a digit": ("IMEI (15)\n123456789012345\n", [], "line 1: IMEI (15): looks like a header"),
        "a comment": ("# my fleet\nid\nDEV1\n", [], "line 1: # my fleet: looks like a comment"),
        "a comment with a digit": ("# fleet 7\nDEV1\n", [], "line 1: # fleet 7: looks like a comment"),
        "a comment before JSONL": ('// my fleet\n{"id":"DEV1"}\n', [], "line 1: // my fleet: looks like a comment"),
        "the separator for Excel": ("sep=,\nid,name\nDEV1,a\n", [], "line 1: sep=: looks like a header"),
        "a header that is no CSV": ('id,"name\nDEV1,a\n', [], "line 1: not CSV"),
        "JSON on several lines": ('{\n"id":"DEV1"\n}\n', [], "looks like a JSON object of several lines"),
    },
)
def test_a_file_without_devices_is_wrong_usage(
    new_fleet: Callable[[], Fleet], cloud: EmulatorThread, text: str, options: list[str], problem: str
) -> None:
    fleet = new_fleet()
    fleet.write(text)
    result = fleet("claim", *options)
    assert (result.status, result.stdout) == (2, "")
    assert result.stderr.startswith("ioto-async: FILE: ")
    assert problem in result.stderr
    assert not fleet.journal("claim").exists()


@each_row(
    "line, problem",
    {
        "half an object": ("{", "not JSON"),
        "no JSON": ("DEV2", "not JSON"),
        "an array": ('["DEV2"]', "expected a JSON object, got list"),
        "two objects": ('{"id":"DEV2"}{}', "not JSON"),
        "a number for the ID": ('{"id":2}', "id: expected a text, got int"),
        "no ID": ('{"name":"DEV2"}', "id is empty"),
        "a path for the ID": ('{"id":"../DEV2"}', "letters, digits"),
        "a control character in the ID": ('{"id":"\\u001b[2J"}', "letters, digits"),
        "a duplicate": ('{"id":"DEV1"}', "id DEV1 is already on line 1"),
        "half a character": ('{"id":"DEV2","name":"\\ud800"}', "not JSON"),
    },
)
def test_a_bad_line_of_json_is_reported_and_the_others_go_on(
    new_fleet: Callable[[], Fleet], cloud: EmulatorThread, line: str, problem: str
) -> None:
    fleet = new_fleet()
    fleet.write(f'{{"id":"DEV1"}}\n\n{line}\n{{"id":"DEV4"}}\n')
    result = fleet("claim")
    assert (result.status, result.figures["claimed"], result.figures["failed"]) == (1, 2, 1)
    (told,) = result.stderr.splitlines()
    assert told.startswith("line 3: ")
    assert problem in told
    assert "\x1b" not in told


@each_row(
    "text, problem",
    {
        "a header again": ("id,name\nDEV1,a\nID,Name\nDEV2,b\n", "line 3: ID: the header again"),
        "a header of one column again": ("id\nDEV1\nid\nDEV2\n", "line 3: id: the header again"),
        "a column that needs a name": (
            "id,name,,\nDEV1,a,,\nDEV3,Pump, north,\nDEV2,b\n",
            "line 3: DEV3: column 3 has no name, but holds 'north'",
        ),
        "a member that needs a name": (
            '{"id":"DEV1"}\n\n{"id":"DEV3","":1}\n{"id":"DEV2"}\n',
            "line 3: no id: a member",
        ),
        "a quote that never ends": ('id,name\nDEV1,a\nDEV3,"b\nDEV2,c\n', "line 3: no id: not CSV"),
        "a quote that ends elsewhere": ('DEV1\n\n"DEV3\n"DEV2"\n', "line 3: no id: not CSV"),
    },
)
def test_a_row_that_must_not_be_sent_is_reported_and_the_others_go_on(
    new_fleet: Callable[[], Fleet], cloud: EmulatorThread, text: str, problem: str
) -> None:
    fleet = new_fleet()
    fleet.write(text)
    result = fleet("claim")
    assert (result.status, result.figures["claimed"], result.figures["failed"]) == (1, 2, 1)
    assert result.stderr.startswith(problem)
    assert [json.loads(request.body)["id"] for request in cloud.requests] == ["DEV1", "DEV2"]


def test_a_cell_of_several_lines_is_sent_whole(cloud: EmulatorThread, fleet: Fleet) -> None:
    fleet.write(f'product,id,"name","site\n name"\n{cloud.product_token},NEW1,"say ""a""\nNEW2\n\n,b","x,\ty"\n')
    result = fleet("register")
    assert (result.status, result.figures["registered"], result.stderr) == (0, 1, "")
    (request,) = cloud.requests
    assert json.loads(request.body) == {
        "id": "NEW1",
        "product": cloud.product_token,
        "name": 'say "a"\nNEW2\n\n,b',
        "site name": "x,\ty",
    }


@each_row(
    "text, options",
    {
        "an index without a name": (",id,name\n0,NEW1,a\n", []),
        "an index that pandas has named": ("Unnamed: 0,id,name\n0,NEW1,a\n", []),
        "the key of a database": ("id,serial,name\n17,NEW1,a\n", ["--id-column", "serial"]),
        "the key of a database in JSON": ('{"id":17,"serial":"NEW1","name":"a"}', ["--id-column", "serial"]),
    },
)
def test_a_column_that_is_no_property_is_not_sent(
    new_fleet: Callable[[], Fleet], cloud: EmulatorThread, text: str, options: list[str]
) -> None:
    fleet = new_fleet()
    fleet.write(text)
    result = fleet("register", "--product", cloud.product_token, *options)
    assert (result.status, result.figures["registered"], result.stderr) == (0, 1, "")
    assert json.loads(cloud.requests[-1].body) == {"id": "NEW1", "name": "a", "product": cloud.product_token}


@each_row("first", ["ABCDEFGHIJ", "M72DANY8BZ", "NOBODY", "pump-7", "a1"])
def test_a_first_line_that_may_be_an_id_is_one(first: str) -> None:
    assert [row.label for row in read_rows([f"{first}\n"])] == [first]


def test_members_of_json_keep_their_names_and_types(cloud: EmulatorThread, fleet: Fleet) -> None:
    row = {"id": "NEW1", "product": cloud.product_token, "siteName": "a\nb", "slots": [1, 2], "test": True, "no": None}
    fleet.write(json.dumps(row) + "\n")
    assert fleet("register").status == 0
    (request,) = cloud.requests
    assert json.loads(request.body) == {name: value for name, value in row.items() if value is not None}


def test_a_product_that_is_no_text_fails_its_row(cloud: EmulatorThread, fleet: Fleet) -> None:
    fleet.write('{"id":"NEW1","product":12}\n')
    result = fleet("register")
    assert (result.status, result.stderr) == (1, "line 1: NEW1: product: expected a text, got int\n")


def test_stdin_is_read_for_a_dash(cloud: EmulatorThread, fleet: Fleet, monkeypatch: pytest.MonkeyPatch) -> None:
    fleet.write('{"id":"DEV1"}\n{"id":"DEV2"}\n')
    with fleet.file.open() as stdin:
        monkeypatch.setattr("sys.stdin", stdin)
        result = fleet.raw("fleet", "claim", "-", "--json")
    assert (result.status, result.figures["claimed"]) == (0, 2)
    assert "journal" not in result.figures


def test_stdin_is_read_from_where_it_is(cloud: EmulatorThread, fleet: Fleet, monkeypatch: pytest.MonkeyPatch) -> None:
    fleet.write("NOBODY\nDEV1\n")
    with fleet.file.open("rb", buffering=0) as stdin:
        stdin.readline()  # as a shell's read does
        monkeypatch.setattr("sys.stdin", stdin)
        result = fleet.raw("fleet", "claim", "-", "--json")
    assert (result.status, result.figures["devices"], result.figures["claimed"]) == (0, 1, 1)


def test_a_bad_row_of_a_pipe_is_reported_and_the_others_go_on(cloud: EmulatorThread, fleet: Fleet) -> None:
    os.mkfifo(fleet.file)
    writer = threading.Thread(target=fleet.file.write_text, args=("DEV1\n..\nDEV1\nDEV2\n",))
    writer.start()
    try:
        result = fleet("claim")
    finally:
        writer.join()
    assert (result.status, result.figures["claimed"], result.figures["failed"]) == (1, 2, 2)
    assert not fleet.journal("claim").exists()


def test_a_pipe_without_rows_is_wrong_usage(cloud: EmulatorThread, fleet: Fleet) -> None:
    os.mkfifo(fleet.file)
    writer = threading.Thread(target=fleet.file.write_text, args=("\n",))
    writer.start()
    try:
        result = fleet("claim")
    finally:
        writer.join()
    assert (result.status, result.stdout) == (2, "")


# The reader itself -------------------------------------------------------------------------------------------------


@each_row(
    "text", ["id,name\nA,x\n\n,\nB,y\n", "A\nB\n", 'id,x\nA,"\n\nC"\nB', '{"id":"A"}\n\n{"id":"B"}\n', 'id\nA\n"B\n']
)
def test_as_many_rows_are_counted_as_are_read(text: str) -> None:
    lines = text.splitlines(keepends=True)
    assert read_rows(lines).count() == len(list(read_rows(lines))) == 2


@given(
    st.lists(st.lists(st.text('a",\n\r ', max_size=4), min_size=1, max_size=3), min_size=1, max_size=6),
    st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL]),
)
def test_every_csv_comes_back_as_it_was_written(table: list[list[str]], quoting: Literal[0, 1]) -> None:
    text = io.StringIO(newline="")
    csv.writer(text, quoting=quoting).writerows([["id", "x", "y"], *([f"D{n}", *row] for n, row in enumerate(table))])
    rows = list(read_rows(io.StringIO(text.getvalue(), newline="")))
    expected = [[cell.strip() for cell in row][:2] for row in table if not any(cell.strip() for cell in row[2:])]
    found = [[str(row.columns.get(name, "")) for name in "xy"] for row in rows if isinstance(row, Row)]
    assert found == [[*row, ""][:2] for row in expected]


def test_duplicates_are_found_among_many() -> None:
    ids = [f"DEV{number}" for number in range(5000)]
    bad = [row for row in read_rows([f"{id}\n" for id in [*ids, *ids[::-1]]]) if isinstance(row, BadRow)]
    assert [(row.line, row.label) for row in bad] == list(enumerate(ids[::-1], 5001))
    assert bad[0].reason == "id DEV4999 is already on line 5000"


def test_a_row_shows_no_column_and_can_be_pickled() -> None:
    (row,) = read_rows(["id,product\n", "DEV1,01SECRET\n"])
    assert isinstance(row, Row)
    assert "01SECRET" not in repr(row)
    assert pickle.loads(pickle.dumps(row)) == row


def test_a_row_error_can_be_pickled() -> None:
    error = pickle.loads(pickle.dumps(RowError("no luck", claimed="now")))
    assert (str(error), error.claimed) == ("no luck", "now")


def test_columns_that_are_separated_otherwise_are_named() -> None:
    with pytest.raises(InvalidArgumentError, match="separated by ';'"):
        list(read_rows(["serial;name\n"], "serial"))
