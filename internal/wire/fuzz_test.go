package wire_test

import (
	"testing"

	"github.com/dynpsrpc/dynpsrpc/internal/wire"
)

// FuzzParseFrame passes arbitrary bytes to all decoders. It checks that none panics, that each
// agrees with protobuf, and that decoded messages survive encoding and decoding.
func FuzzParseFrame(f *testing.F) {
	for i, s := range loadScenarios(f) {
		if i%8 == 0 {
			for _, v := range s.Frames {
				f.Add(v.frame(f))
			}
		}
	}
	for _, frame := range privateFrames(f) {
		f.Add(frame)
	}
	for _, frame := range malformedFrames {
		f.Add(frame)
	}
	f.Fuzz(func(t *testing.T, frame []byte) {
		checkEnvelope(t, frame)
		for kind := range schemaName {
			checkInner(t, kind, frame)
		}
		env, err := wire.ParseEnvelope(frame)
		if err != nil {
			return
		}
		for kind := range schemaName {
			checkInner(t, kind, env.Value)
		}
	})
}

// malformedFrames contains frames that every decoder must reject.
var malformedFrames = map[string][]byte{
	"tag alone":              {0x0a},
	"length alone":           {0x0a, 0x05},
	"length beyond the end":  {0x0a, 0x05, 'a'},
	"huge length":            {0x0a, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f},
	"endless tag":            {0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x01},
	"endless varint":         {0x18, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff},
	"field number 0":         {0x02, 0x00},
	"field number too large": {0x80, 0x80, 0x80, 0x80, 0x10, 0x00},
	"reserved wire type":     {0x0e},
	"short fixed32":          {0x1d, 0, 0, 0},
	"short fixed64":          {0x19, 0, 0, 0, 0, 0, 0, 0},
	"end of no group":        {0x0c},
	"group without end":      {0x7b, 0x08, 0x01},
	"end of another group":   {0x7b, 0x84, 0x01},
	"text is not UTF-8":      {0x0a, 0x01, 0xff},
}
