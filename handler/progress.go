package handler

import (
	"math"
	"time"

	"barback/runner/operation"
)

// progressView is how far a copy is. estimate is always true: Barman itself tells nobody.
type progressView struct {
	Phase      string     `json:"phase"`
	BytesDone  int64      `json:"bytes_done"`
	BytesTotal *int64     `json:"bytes_total"` // null: there is nothing to compare with
	Percent    *float64   `json:"percent"`
	ETA        *time.Time `json:"eta"`
	Estimate   bool       `json:"estimate"`
	At         time.Time  `json:"at"`
}

func (h *handler) progress(op operation.Operation) *progressView {
	if op.State.Final() {
		return nil
	}
	p, ok := h.Records.Progress(op.ID)
	if !ok {
		return nil
	}
	v := &progressView{Phase: p.Phase, BytesDone: p.BytesDone, Estimate: true, At: p.At}
	if percent, ok := p.Percent(); ok {
		percent = math.Round(percent*10) / 10
		v.BytesTotal, v.Percent = &p.BytesTotal, &percent
	}
	if eta, ok := p.ETA(); ok {
		eta = eta.Round(time.Second)
		v.ETA = &eta
	}
	return v
}
