package handler

import (
	"testing"
)

// A page of another site can make a browser send a request with what the browser knows: it must not start,
// cancel or delete anything. Programs send none of these headers.
func TestRequestsOfOtherSites(t *testing.T) {
	b := newBench(t, nil)
	for _, tc := range []struct {
		name   string
		header []string
		code   int
	}{
		{"a program", nil, 202},
		{"a page of this host", []string{"Sec-Fetch-Site", "same-origin", "Origin", "http://example.com"}, 202},
		{"an address that was typed", []string{"Sec-Fetch-Site", "none"}, 202},
		{"a page of another site", []string{"Sec-Fetch-Site", "cross-site", "Origin", "https://evil.example"}, 403},
		{"a page of a neighbour", []string{"Sec-Fetch-Site", "same-site"}, 403},
		{"an old browser on another site", []string{"Origin", "https://evil.example"}, 403},
		{"a sandboxed frame", []string{"Origin", "null"}, 403},
	} {
		t.Run(tc.name, func(t *testing.T) {
			began := b.start.started()
			res := b.ask("POST", "/servers/pg-one/operations", `{"type":"backup","queue":true}`, tc.header...)
			res.want(tc.code, "")
			if n := b.start.started() - began; (n == 1) != (tc.code == 202) {
				t.Errorf("%d operations were begun, the answer is %d", n, tc.code)
			}
			if tc.code == 403 {
				res.want(403, "urn:barback:cross-origin")
				b.ask("DELETE", "/servers/pg-one/operations/20260101T000000-000000", "", tc.header...).want(403, "another site")
			}
			b.ask("GET", "/servers", "", tc.header...).want(200, "") // what it reads, the browser does not give to the page
			if cors := res.Header().Get("Access-Control-Allow-Origin"); cors != "" {
				t.Errorf("Access-Control-Allow-Origin is %q, want none", cors)
			}
		})
	}
}
