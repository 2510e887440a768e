"""Every function that the Kubernetes reference documents ("Common Expression Language in Kubernetes"), by examples."""

from __future__ import annotations

from typing import Any

import pytest

from tiphys.machinery.cel import DYN, CelError, CelRuntimeError, Environment
from tiphys.machinery.cel.equality import equals
from tiphys.machinery.cel.library import EXTRAS, KUBERNETES

ENVIRONMENT = Environment({"items": DYN})
EXTENDED = Environment(libraries=(*KUBERNETES, *EXTRAS))
BINDINGS: dict[str, Any] = {"items": ["a", "b"]}

VALUES: dict[str, Any] = {
    # Lists
    "['a', 'b', 'b', 'c'].isSorted()": True,
    "[2.0, 1.0].isSorted()": False,
    "[1, 3].sum()": 4,
    "[1.0, 3.0].sum()": 4.0,
    "['b', 'c'].min()": "b",
    "[1, 3].max()": 3,
    "[duration('1m'), duration('1s')].sum() == duration('61s')": True,
    "['a', 'b', 'b', 'c'].indexOf('b')": 1,
    "['a', 'b', 'b', 'c'].lastIndexOf('b')": 2,
    "[1.0].indexOf(1.1)": -1,
    "[].sum()": 0,
    # Sets
    "sets.contains([1, 2, 3, 4], [2, 3])": True,
    "sets.contains([], [1])": False,
    "sets.equivalent([1], [1, 1])": True,
    "sets.equivalent([1], [2])": False,
    "sets.intersects([1], [1, 2])": True,
    "sets.intersects([1], [])": False,
    # Regular expressions
    "'abc 123'.find('[0-9]+')": "123",
    "'abc'.find('[0-9]+')": "",
    "'123 abc 456'.findAll('[0-9]+')": ["123", "456"],
    "'123 abc 456'.findAll('[0-9]+', 1)": ["123"],
    "'123 abc 456'.findAll('xyz')": [],
    # URLs
    "url('https://user@example.com:80/path/to?k=a&k=b').getScheme()": "https",
    "url('https://example.com:80/').getHost()": "example.com:80",
    "url('https://example.com/').getHost()": "example.com",
    "url('https://[::1]:80/').getHost()": "[::1]:80",
    "url('https://[::1]:80/').getHostname()": "::1",
    "url('https://example.com:80/').getHostname()": "example.com",
    "url('https://example.com:80/').getPort()": "80",
    "url('https://example.com/').getPort()": "",
    "url('https://example.com/path with spaces/').getEscapedPath()": "/path%20with%20spaces/",
    "url('https://example.com/path?k1=a&k2=b&k2=c').getQuery()": {"k1": ["a"], "k2": ["b", "c"]},
    "url('https://example.com/path').getQuery()": {},
    "isURL('https://example.com:80/')": True,
    "isURL('../relative')": False,
    "url('https://a.b/') == url('https://a.b/')": True,
    # Quantities
    "isQuantity('1.3G') && !isQuantity('1.3') == false": True,
    "isQuantity('200K')": False,
    "quantity('50000000G').isInteger()": True,
    "quantity('9999999999999999999999999999999999999G').isInteger()": False,
    "quantity('50k').asInteger()": 50000,
    "quantity('1.5').isInteger()": False,
    "quantity('9999999999999999999999999999999999999G').asApproximateFloat() > 1e40": True,
    "quantity('50.703k').asApproximateFloat()": 50703.0,
    "quantity('200M').compareTo(quantity('0.2G'))": 0,
    "quantity('50M').compareTo(quantity('50Mi'))": -1,
    "quantity('50Mi').compareTo(quantity('50M'))": 1,
    "quantity('150Mi').isGreaterThan(quantity('100Mi'))": True,
    "quantity('50M').isLessThan(quantity('100M'))": True,
    "quantity('50k').add(quantity('20')) == quantity('50020')": True,
    "quantity('50k').add(20).sub(quantity('100k')).sub(-50000) == quantity('20')": True,
    "quantity('-50k').sign()": -1,
    "quantity('0').sign()": 0,
    # Addresses
    "isIP('127.0.0.1') && isIP('::1') && !isIP('127.0.0.256')": True,
    "isIP('::ffff:1.2.3.4') || isIP('fe80::1%eth0')": False,
    "ip('127.0.0.1').family()": 4,
    "ip('::1').family()": 6,
    "ip('127.0.0.1').isLoopback() && ip('0.0.0.0').isUnspecified()": True,
    "ip('224.0.0.1').isLinkLocalMulticast() && ip('fe80::1').isLinkLocalUnicast()": True,
    "ip('192.168.0.1').isGlobalUnicast()": True,
    "ip.isCanonical('2001:db8::abcd') && !ip.isCanonical('2001:DB8::ABCD')": True,
    "string(ip('2001:DB8::ABCD'))": "2001:db8::abcd",
    "ip('127.0.0.1') == ip('127.0.0.1')": True,
    "isCIDR('192.168.0.0/16') && !isCIDR('192.168.0.0/33') && !isCIDR('192.168.0.0')": True,
    "cidr('192.168.0.0/24').containsIP(ip('192.168.0.1')) && cidr('192.168.0.0/24').containsIP('192.168.0.2')": True,
    "cidr('192.168.0.0/24').containsIP('192.168.1.2')": False,
    "cidr('192.168.0.0/24').containsCIDR(cidr('192.168.0.0/25'))": True,
    "cidr('192.168.0.0/24').containsCIDR('192.168.0.0/23')": False,
    "cidr('192.168.0.1/24').ip() == ip('192.168.0.1')": True,
    "cidr('192.168.0.1/24').masked() == cidr('192.168.0.0/24')": True,
    "cidr('::1/128').prefixLength()": 128,
    "string(cidr('192.168.0.1/24'))": "192.168.0.1/24",
    # Versions
    "isSemver('1.0.0') && isSemver('1.2.3-alpha.1+build') && !isSemver('v1.0') && !isSemver('1.0')": True,
    "isSemver('v1.0', true) && isSemver('01.02.03', true)": True,
    "semver('1.2.3').major() * 100 + semver('1.2.3').minor() * 10 + semver('1.2.3').patch()": 123,
    "semver('1.2.3').compareTo(semver('1.2.3-alpha'))": 1,
    "semver('1.2.3').isLessThan(semver('2.0.0')) && semver('1.2.3').isGreaterThan(semver('0.1.2'))": True,
    "semver('v1.0', true) == semver('1.0.0')": True,
    # Formats
    "!format.dns1123Label().validate('my-label-name').hasValue()": True,
    "format.dns1123Label().validate('My').hasValue()": True,
    "format.dns1123Subdomain().validate('apiextensions.k8s.io').orValue([])": [],
    "format.qualifiedName().validate('apiextensions.k8s.io/v1beta1').hasValue()": False,
    "format.dns1123LabelPrefix().validate('my-label-prefix-').hasValue()": False,
    "format.labelValue().validate('a b').hasValue()": True,
    "format.uri().validate('http://example.com').hasValue()": False,
    "format.uuid().validate('123e4567-e89b-12d3-a456-426614174000').hasValue()": False,
    "format.byte().validate('aGVsbG8=').hasValue()": False,
    "format.date().validate('2021-01-01').hasValue()": False,
    "format.datetime().validate('2021-01-01T00:00:00Z').hasValue()": False,
    "format.named('dns1123Label').value() == format.dns1123Label()": True,
    "format.named('unheard of').hasValue()": False,
    "format.date().validate('x').value()": ["invalid date"],
    # Strings
    "'tacocat'.charAt(0) + 'tacocat'.charAt(7)": "t",
    "'hello mellow'.indexOf('ello') + 'hello mellow'.indexOf('ello', 2)": 8,
    "'hello mellow'.lastIndexOf('ello') + 'hello mellow'.lastIndexOf('ello', 6)": 8,
    "['hello', 'mellow'].join() + ['a', 'b'].join(', ')": "hellomellowa, b",
    "'TacoÇat'.lowerAscii() + 'tacoçat'.upperAscii()": "tacoÇatTACOçAT",
    "'hello hello'.replace('he', 'we') + 'hello hello'.replace('he', 'we', 1)": "wello wellowello hello",
    "'hello hello hello'.split(' ')": ["hello", "hello", "hello"],
    "'hello hello hello'.split(' ', 2)": ["hello", "hello hello"],
    "'abc'.split('')": ["a", "b", "c"],
    "'tacocat'.substring(4) + 'tacocat'.substring(0, 4)": "cattaco",
    r"'  \ttrim\n    '.trim()": "trim",
    r"""strings.quote('single-quote with "double quote"')""": '"single-quote with \\"double quote\\""',
    "'%s %d %.2f %x %X %b %o %e'.format([dyn('a'), 1, 1.5, 255, 255, 5, 8, 1234.5])": "a 1 1.50 ff FF 101 10 1.234500\u202f×\u202f10⁰³",
    "'%s %s %s'.format([dyn([dyn(1), 'a']), {'b': true}, null])": '[1, "a"] {"b":true} null',
}

MORE: dict[str, Any] = {
    "math.greatest(1, 3, 2) + math.least([4, 5])": 7,
    "math.ceil(1.2) + math.floor(1.8) + math.round(1.5) + math.trunc(-1.9)": 4.0,
    "math.abs(-5) + math.sign(-3)": 4,
    "math.isNaN(0.0 / 0.0) && math.isInf(1.0 / 0.0) && math.isFinite(1.0)": True,
    "math.bitAnd(6, 3) + math.bitOr(6, 3) + math.bitXor(6, 3)": 14,
    "math.bitShiftLeft(1, 4) + math.bitShiftRight(16, 2)": 20,
    "base64.encode(b'hello')": "aGVsbG8=",
    "base64.decode('aGVsbG8=')": b"hello",
    "'gums'.reverse()": "smug",
    "jsonpatch.escapeKey('k8s.io/my~label')": "k8s.io~1my~0label",
}


@pytest.mark.parametrize("text", VALUES)
def test_a_function(text: str) -> None:
    assert equals(ENVIRONMENT.compile(text).evaluate(BINDINGS), VALUES[text])


@pytest.mark.parametrize("text", MORE)
def test_a_function_of_some_environments(text: str) -> None:
    assert equals(EXTENDED.compile(text).evaluate({}), MORE[text])
    with pytest.raises(CelError):
        ENVIRONMENT.compile(text)


FAILURES = {
    "[].min()": "min called on empty list",
    "[].max()": "max called on empty list",
    "quantity('x')": "quantities must match the regular expression",
    "quantity('1.5').asInteger()": "cannot convert value to integer",
    "ip('x')": 'IP Address "x" parse error during conversion from string',
    "cidr('x')": "network address parse error during conversion from string",
    "url('x')": 'URL parse error during conversion from string: parse "x": invalid URI for request',
    "semver('x')": "No Major.Minor.Patch elements found",
    "'abc'.charAt(4)": "index out of range: 4",
    "'abc'.substring(3, 1)": "invalid substring range. start: 3, end: 1",
    "'%d'.format(['a'])": "error during formatting: decimal clause can only be used on integers, was given string",
    "'%s'.format([])": "index 0 out of range",
}


@pytest.mark.parametrize("text", FAILURES)
def test_a_failing_function(text: str) -> None:
    with pytest.raises(CelRuntimeError) as caught:
        ENVIRONMENT.compile(text).evaluate(BINDINGS)
    assert FAILURES[text] in str(caught.value)
