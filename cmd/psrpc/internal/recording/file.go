package recording

import (
	"bufio"
	"compress/gzip"
	"encoding/binary"
	"fmt"
	"io"
	"sync"

	"google.golang.org/protobuf/encoding/protowire"

	"github.com/dynpsrpc/dynpsrpc/dynamic/fleet"
	"github.com/dynpsrpc/dynpsrpc/errors"
)

const (
	// maxRecord is the maximum size of a record in bytes.
	maxRecord = 64 << 20
	// maxRecording is the maximum size in bytes of all records of a file together. recordCost is
	// added to the size of each record: in memory, even an empty record takes that much.
	maxRecording = 1 << 30
	recordCost   = 200
)

// recordingSize adds up the sizes of records.
type recordingSize uint64

// add adds a record. It returns an error if the record or the recording becomes too large.
func (s *recordingSize) add(record uint64) error {
	if record > maxRecord {
		return errors.NewErrorf(errors.ResourceExhausted,
			"a record of %d bytes is too large for a recording: it may have %d MiB", record, maxRecord>>20)
	}
	if *s += recordingSize(record + recordCost); *s > maxRecording {
		return errors.NewErrorf(errors.ResourceExhausted, "the recording is too large: it may have %d MiB", maxRecording>>20)
	}
	return nil
}

// Writer writes a recording. It is safe for concurrent use.
type Writer struct {
	mu  sync.Mutex
	out *gzip.Writer
	// buffer holds one encoded record. It is reused to save allocations.
	buffer   []byte
	services map[fleet.Digest]bool
	size     recordingSize
	events   uint64
	err      error
}

// NewWriter writes the header of a recording and returns a writer for the services and events.
func NewWriter(w io.Writer, header Header) (*Writer, error) {
	writer := &Writer{out: gzip.NewWriter(w), services: map[fleet.Digest]bool{}}
	return writer, writer.write(headerRecord, appendHeader(nil, &header))
}

// AddService writes the descriptors of a service, unless they have been written before.
func (w *Writer) AddService(s Service) error {
	encoded, err := appendService(nil, &s)
	if err != nil {
		return err
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.services[s.Digest] {
		return nil
	}
	w.services[s.Digest] = true
	return w.writeLocked(serviceRecord, encoded)
}

// Add writes an event. It returns an error with code [errors.ResourceExhausted] if the event or the
// recording would become larger than [Load] accepts. The recording remains valid, without the
// event.
func (w *Writer) Add(event *Event) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	err := w.writeLocked(eventRecord, appendEvent(nil, event))
	if err == nil {
		w.events++
	}
	return err
}

// Events returns how many events have been written.
func (w *Writer) Events() uint64 {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.events
}

// Close ends the recording. It does not close the underlying writer.
func (w *Writer) Close() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	return errors.Join(w.err, w.out.Close())
}

func (w *Writer) write(kind protowire.Number, encoded []byte) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.writeLocked(kind, encoded)
}

func (w *Writer) writeLocked(kind protowire.Number, encoded []byte) error {
	if w.err != nil {
		return w.err
	}
	record := appendField(w.buffer[:0], kind, encoded)
	w.buffer = record
	if err := w.size.add(uint64(len(record))); err != nil {
		return err
	}
	if _, w.err = w.out.Write(binary.AppendUvarint(nil, uint64(len(record)))); w.err == nil {
		_, w.err = w.out.Write(record)
	}
	return w.err
}

// Load reads a recording. If the end of the file is missing, for example because the writing
// program was killed, Load returns what there is and sets cut. It returns an error if the file is
// not a recording, if a record exceeds 64 MiB, or if all records together exceed 1 GiB.
func Load(r io.Reader) (rec *Recording, cut bool, err error) {
	unzipped, err := gzip.NewReader(r)
	if err != nil {
		return nil, false, errors.NewErrorf(errors.InvalidArgument, "the file is no recording: %w", err)
	}
	in := &recordReader{in: bufio.NewReader(unzipped)}
	rec = new(Recording)
	for n := 0; ; n++ {
		kind, encoded, err := in.next()
		switch {
		case n == 0 && (err != nil || kind != headerRecord):
			return nil, false, errors.NewErrorf(errors.InvalidArgument, "the file is no recording: it has no header")
		case errors.Is(err, io.EOF):
			return rec, false, nil
		case errors.Is(err, io.ErrUnexpectedEOF):
			return rec, true, nil
		case err != nil:
			return nil, false, err
		}
		if err := rec.add(kind, encoded); err != nil {
			return nil, false, fmt.Errorf("record %d of the recording: %w", n, err)
		}
	}
}

// add adds a record to the recording. It skips kinds of records that it does not know, which a
// later version may have written.
func (r *Recording) add(kind protowire.Number, encoded []byte) (err error) {
	switch kind {
	case headerRecord:
		r.Header, err = decodeHeader(encoded)
	case serviceRecord:
		var s Service
		s, err = decodeService(encoded)
		r.Services = append(r.Services, s)
	case eventRecord:
		var e Event
		e, err = decodeEvent(encoded)
		r.Events = append(r.Events, e)
	}
	return err
}

// recordReader reads records.
type recordReader struct {
	in   *bufio.Reader
	size recordingSize
}

// next returns the kind and the content of the next record. At the end of the file, it returns
// io.EOF, or io.ErrUnexpectedEOF if the file was cut off.
func (r *recordReader) next() (kind protowire.Number, encoded []byte, err error) {
	size, err := binary.ReadUvarint(r.in)
	if err != nil {
		return 0, nil, err
	}
	if err := r.size.add(size); err != nil {
		return 0, nil, err
	}
	record := make([]byte, size)
	if _, err := io.ReadFull(r.in, record); err != nil {
		return 0, nil, io.ErrUnexpectedEOF
	}
	err = eachField(record, func(f field) error {
		kind, encoded = f.number, f.bytes
		return nil
	})
	return kind, encoded, err
}
