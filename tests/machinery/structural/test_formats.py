"""Formats of strings, each with texts that have it and texts that do not."""

import pytest

from tiphys.machinery.structural.formats import known

FORMATS: dict[str, tuple[list[str], list[str]]] = {
    "bsonobjectid": (["507f1f77bcf86cd799439011"], ["507f1f77bcf86cd79943901", "g07f1f77bcf86cd799439011"]),
    "byte": (["aGk=", "aGlo"], ["", "a", "aGk", "aG k="]),
    "cidr": (["10.0.0.0/8", "10.0.0.1/8", "fd00::/64"], ["10.0.0.0", "10.0.0.0/33", "10.0.0.0/-1", "x/8"]),
    "creditcard": (["4111-1111-1111-1111"], ["4111-1111-1111-1112", "1"]),
    "date": (["2026-02-28"], ["2026-02-29", "2026-2-28", "28.2.2026", ""]),
    "date-time": (
        ["2026-11-28T03:00:00Z", "2026-11-28t03:00:00.5+01:00"],
        [
            "2026-11-28",
            "2026-11-28 03:00:00Z",
            "2026-11-28T24:00:00Z",
            "2026-11-28T23:59:60Z",
            "2026-11-28T03:00:00",
        ],
    ),
    "datetime": (["2026-11-28T03:00:00Z"], ["x"]),
    "duration": (["1h30m", "-5ms", "2 days", "3 weeks 1 hour", "0"], ["", "1", "x", "5 parsecs"]),
    "email": (
        ["gina@example.com", "Gina <gina@example.com>"],
        ["gina", "gina@", "@example.com", "a b@example.com"],
    ),
    "hexcolor": (["#FFFFFF", "abc"], ["#FFFF", "#GGG"]),
    "hostname": (["example.com", "a", "10.example"], ["-a", "a..b", "a_b", "a" * 64]),
    "ipv4": (["10.0.0.1"], ["10.0.0", "::1", "10.0.0.01", "10.0.0.1/8"]),
    "ipv6": (["::1", "::ffff:10.0.0.1"], ["10.0.0.1", "fe80::1%eth0", "g::"]),
    "isbn": (["0321751043", "978-0321751041"], ["0321751044", "978-0321751042"]),
    "isbn10": (["0321751043", "080442957X"], ["978-0321751041"]),
    "isbn13": (["978-0321751041"], ["0321751043"]),
    "k8s-long-name": (["example.com", "a"], ["Example.com", "-", "a." * 127 + "aa"]),
    "k8s-short-name": (["a-b"], ["a.b", "A", "a" * 64]),
    "mac": (
        ["00:00:5e:00:53:01", "02-00-5E-10-00-00-00-01", "0000.5e00.5301"],
        ["00:00:5e:00:53", "0:0:5e:0:53:1"],
    ),
    "password": (["", "anything"], []),
    "rgbcolor": (["rgb(0,128,255)", "rgb( 1 , 2 , 3 )"], ["rgb(256,0,0)", "0,0,0"]),
    "ssn": (["123-45-6789", "123 45 6789"], ["123456789", "123-456-789"]),
    "uri": (["http://example.com/a?b", "/path", "mailto:a@b"], ["", "example.com", "http://[::1"]),
    "uuid": (["123e4567-e89b-12d3-a456-426614174000", "123E4567E89B12D3A456426614174000"], ["123e4567"]),
    "uuid3": (["6fa459ea-ee8a-3ca4-894e-db77e160355e"], ["6fa459ea-ee8a-4ca4-894e-db77e160355e"]),
    "uuid4": (["16fd2706-8baf-433b-82eb-8c7fada847da"], ["16fd2706-8baf-433b-02eb-8c7fada847da"]),
    "uuid5": (["886313e1-3b8a-5372-9b90-0c9aee199e5d"], ["886313e1-3b8a-4372-9b90-0c9aee199e5d"]),
}


@pytest.mark.parametrize("name", FORMATS)
def test_a_format(name: str) -> None:
    accepts = known(name)
    assert accepts is not None
    right, wrong = FORMATS[name]
    assert [text for text in right if not accepts(text)] == []
    assert [text for text in wrong if accepts(text)] == []


@pytest.mark.parametrize("name", ["int32", "int64", "float", "double", "binary", "semver", "", None])
def test_other_names_demand_nothing(name: str | None) -> None:
    assert known(name) is None
