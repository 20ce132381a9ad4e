"""The limit on requests from one address that deploy/nginx ships."""

import http.client

from harness import routes

# More than the burst, and than what is added to it while they are sent.
REQUESTS = 1500


def statuses(port, source, number):
    """Those of so many requests without a token from this address, one after the other."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30, source_address=(source, 0))
    seen = []
    try:
        for _ in range(number):
            connection.request("GET", routes.LIST)
            response = connection.getresponse()
            response.read()
            seen.append(response.status)
            if response.status == 429:
                break
    finally:
        connection.close()
    return seen


def test_one_address_cannot_send_without_end(site):
    seen = statuses(site.client.port, "127.0.0.2", REQUESTS)
    assert seen[-1] == 429
    assert len(seen) > 200 and set(seen[:-1]) == {401}
    # Others are not affected.
    assert statuses(site.client.port, "127.0.0.3", 10) == [401] * 10


def test_this_host_is_exempt(site):
    assert statuses(site.client.port, "127.0.0.1", REQUESTS) == [401] * REQUESTS
