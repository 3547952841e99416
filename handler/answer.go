package handler

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"hash/crc32"
	"net/http"
	"slices"
	"strconv"
	"strings"
)

// answer writes v as JSON. A GET's answer has an ETag, so that a poll costs little while
// nothing changes (RFC 9110, 13.1.2). Content-Length is set by hand: CGI and FastCGI do not.
func answer(w http.ResponseWriter, r *request, status int, v any) error {
	if !acceptsJSON(r.Header.Get("Accept")) {
		return errNotAcceptable
	}
	body, err := encode(v)
	if err != nil {
		return err
	}
	send(w, r, "application/json", status, body)
	return nil
}

func encode(v any) ([]byte, error) {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	err := enc.Encode(v)
	return b.Bytes(), err
}

// send is answer for what is written out already.
func send(w http.ResponseWriter, r *request, contentType string, status int, body []byte) {
	if status == http.StatusOK && r.Method != http.MethodPost {
		sendTagged(w, r, contentType, tagged{body, etag(body)})
		return
	}
	write(w, contentType, status, body)
}

// sendTagged answers a GET, unless the client has it already.
func sendTagged(w http.ResponseWriter, r *request, contentType string, t tagged) {
	head := w.Header()
	head["Etag"] = []string{t.tag} // as net/http spells it
	head["Cache-Control"] = revalidate
	if matches(r.Header.Get("If-None-Match"), t.tag) {
		w.WriteHeader(http.StatusNotModified)
		return
	}
	write(w, contentType, http.StatusOK, t.body)
}

var revalidate = []string{"no-cache"}

// etag is the same in all processes: two CRCs, for which processors have instructions, as a list may be long.
func etag(body []byte) string {
	var sums [8]byte
	binary.BigEndian.PutUint32(sums[:4], crc32.ChecksumIEEE(body))
	binary.BigEndian.PutUint32(sums[4:], crc32.Checksum(body, crc32.MakeTable(crc32.Castagnoli)))
	return `"` + hex.EncodeToString(sums[:]) + `"`
}

func write(w http.ResponseWriter, contentType string, status int, body []byte) {
	w.Header().Set("Content-Type", contentType)
	w.Header().Set("Content-Length", strconv.Itoa(len(body)))
	w.WriteHeader(status)
	_, _ = w.Write(body) // #nosec G705 -- JSON, and nosniff; a HEAD's body is dropped by the door
}

// matches reads If-None-Match: a list of tags, or *.
func matches(header, tag string) bool {
	if strings.TrimSpace(header) == "*" {
		return true
	}
	for t := range strings.SplitSeq(header, ",") {
		if strings.TrimPrefix(strings.TrimSpace(t), "W/") == tag {
			return true
		}
	}
	return false
}

// acceptsJSON reports whether the Accept header lets through JSON (RFC 9110, 12.5.1).
// The most specific range decides, and a weight of 0 says no.
func acceptsJSON(header string) bool {
	if header == "" {
		return true
	}
	ranges := []string{"application/json", "application/*", "*/*"}
	best, ok := len(ranges), false
	for part := range strings.SplitSeq(header, ",") {
		name, params, _ := strings.Cut(part, ";")
		i := slices.Index(ranges, strings.ToLower(strings.TrimSpace(name)))
		if i >= 0 && i < best {
			best, ok = i, !refusedWeight(params)
		}
	}
	return ok
}

func refusedWeight(params string) bool {
	for p := range strings.SplitSeq(params, ";") {
		if q, ok := strings.CutPrefix(strings.TrimSpace(p), "q="); ok {
			n, err := strconv.ParseFloat(q, 64)
			return err == nil && n == 0
		}
	}
	return false
}
