# SPDX-License-Identifier: MIT
"""Bytes that two readers of HTTP could read in two ways: the parts of messages that
test_smuggling.py puts into requests and test_splitting.py into responses."""

# value of Transfer-Encoding: status that a request with it gets
CODINGS = {
    b"chunked, chunked": 400,
    b"chunked,chunked": 400,
    b"chunked, identity": 400,
    b"chunked, gzip": 400,
    b"chunked;q=1": 400,
    b"chunked; a=b": 400,
    b"chunked;": 400,
    b"chunked,": 400,
    b"chunked ,": 400,
    b",chunked": 400,
    b", chunked": 400,
    b",": 400,
    b"": 400,
    b"chunked\x00": 400,
    b"\x00chunked": 400,
    b"chunked\x0b": 400,
    b"\x0bchunked": 400,
    b"\x0cchunked": 400,
    b"chunked\x7f": 400,
    b"chunked\rx": 400,
    b"chunked\r": 400,
    b"\rchunked": 400,
    b"\r\n chunked": 400,
    b"\r\n\tchunked": 400,
    b"\n chunked": 400,
    b"chunked\r\n ,identity": 400,
    b"identity": 501,
    b"identity, chunked": 501,
    b"gzip": 501,
    b"gzip, chunked": 501,
    b'gzip;x="chunked"': 501,
    b"xchunked": 501,
    b"chunke": 501,
    b"chunkedd": 501,
    b"chun ked": 501,
    b"chunked identity": 501,
    b"identity chunked": 501,
    b'"chunked"': 501,
    b"'chunked'": 501,
    b"[chunked]": 501,
    b"x: chunked": 501,
    b"chunked\xa0": 501,
    b"\xa0chunked": 501,
    b"chunked\x85": 501,
    b"\xef\xbc\xa3hunked": 501,
    b"trailers": 501,
    b"true": 501,
    b"1": 501,
}


LENGTHS = [
    b"+5", b"-5", b"-0", b"+0", b"5 5", b"5,5", b"5, 5", b"5, 6", b"5,", b",5", b"5;", b"5;q=1",
    b"0x5", b"0X5", b"5.0", b"5e0", b"5h", b"a5", b"5a", b'"5"', b"'5'", b"(5)", b"5_0", b"1'0",
    b"", b" ", b"five", b"NaN", b"5\x00", b"\x005", b"5\x0b", b"\x0b5", b"\x0c5", b"5\x7f",
    b"5\xa0", b"\xa05", b"\xe0\xa5\xab", b"\xef\xbc\x95", b"5\rX", b"5\r", b"\r5", b"\r\n 5",
    b"\n5", b"5\r\n 0", b"5\r\n\t0", b"9223372036854775808", b"18446744073709551615",
    b"18446744073709551616", b"18446744073709551621", b"4294967296" * 3,
    b"99999999999999999999999999999999999999999", b"340282366920938463463374607431768211461",
]  # fmt: skip


NOT_IN_NAMES = bytes(range(0x21)) + b'"(),/;<=>?@[\\]{}' + bytes([0x7F, 0x80, 0xA0, 0xE9, 0xFF])
NOT_IN_VALUES = bytes(range(9)) + bytes(range(0x0A, 0x20)) + b"\x7f"

FLOOD = 70_000  # over limits.head_bytes

BAD_CHUNKS = {
    "sizes": [
        size + b"\r\ndef\r\n0\r\n\r\n"
        for size in [
            b"+3", b"-3", b"0x3", b"0X3", b"x3", b"3x", b"3h", b"g", b"3 ", b"3\t", b" 3", b"\t3",
            b"  3", b"3,", b"3.0", b"3_", b"3,3", b"3 3", b"", b" ", b"\0003", b"3\0", b"3\x0b",
            b"\x0b3", b"3\x0c", b"3\x7f", b"3\xa0", b"\xef\xbc\x93", b"'3'", b'"3"', b"(3)", b"3=",
            b"3:", b"=3", b"3\r", b"3\r\r", b"\r3", b"\n3", b"3\n", b"3\n\n", b"3\rX", b"3\r;a",
            b"10000000000000003", b"FFFFFFFFFFFFFFFFF", b"FFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFF3",
            b"100000000000000000000000000000003", b"0" * 200 + b"3", b"0" * FLOOD + b"3", b"3" * 100,
        ]
    ] + [b"3\ndef\r\n0\r\n\r\n", b"3\rdef\r\n0\r\n\r\n"],
    "last chunks": [
        last + b"\r\n\r\n"
        for last in [
            b"-0", b"+0", b"0x0", b"0 ", b" 0", b"0\t", b"\0000", b"0\0", b"o", b"0\x0b", b"0,",
            b"0\r", b"0\n", b"0\r\r", b"\n0", b"0\rX", b"0\n\n",
        ]
    ],
    "extensions": [
        size + b"\r\ndef\r\n0\r\n\r\n"
        for size in [
            b"3;a\nb", b"3;a\n", b"3;\n", b"3;a\rb", b"3;a\r", b"3;a\0b", b"3;\0", b"3;a\x0bb",
            b"3;a\x7f", b'3;a="\r\n"', b'3;a="b\nc"', b'3;a="b\rc"', b'3;a="b\0c"', b'3;a="b\\\r\n"',
            b'3;a="b\\\n"', b"3;a=b\r\r", b"3 ;\na", b"3;" + b"a" * FLOOD, b"3;" + b";" * FLOOD,
            b"3;a=" + b"b" * FLOOD, b'3;a="' + b"b" * FLOOD, b"3" + b";a=b" * (FLOOD // 4),
        ]
    ] + [(b"1;" + b"a" * 500 + b"\r\nd\r\n") * 140 + b"0\r\n\r\n", b"0;a\nb\r\n\r\n", b"0;a\0\r\n\r\n"],
    "ends of data": [
        b"3\r\n" + data + b"0\r\n\r\n"
        for data in [
            b"def", b"defX\r\n", b"def\n", b"def\r", b"def\rX", b"def\r\r\n", b"def\n\r", b"def\0\r\n",
            b"def \r\n", b"de\r\n", b"d\r\n", b"\r\n", b"defghi\r\n", b"def\r\0\n",
        ]
    ],
    "trailers": [
        b"0\r\n" + trailer + b"\r\n"
        for trailer in [
            b"X\r\n", b": y\r\n", b" X: y\r\n", b"\tX: y\r\n", b"X : y\r\n", b"X\t: y\r\n",
            b"X: a\r\n b\r\n", b"X: a\r\n\tb\r\n", b"X: a\0b\r\n", b"X: a\rb\r\n", b"X: a\nb\r\n",
            b"X: a\n", b"X: a\r", b"X: a\r\r\n", b"X\0: y\r\n", b"X: \x0b\r\n", b"X: \x7f\r\n",
            b"X Y: z\r\n", b"(X): y\r\n", b"\xe9: y\r\n", b"\n", b"\r", b"\0", b"GET / HTTP/1.1\r\n",
        ]
    ] + [
        b"0\r\nX: " + b"a" * FLOOD + b"\r\n\r\n",
        b"0\r\n" + b"X: y\r\n" * 300 + b"\r\n",
        b"0\r\n" + b"X: y\r\n" * 20_000 + b"\r\n",
    ],
}  # fmt: skip
