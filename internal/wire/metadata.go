package wire

import "unicode/utf8"

// The tags of a map entry. Protobuf encodes a map as repeated messages that each have a key and a
// value field.
const (
	entryTagKey   = 1<<wireTypeBits | wireBytes
	entryTagValue = 2<<wireTypeBits | wireBytes
)

// setEntry decodes the map entry in the current field, stores it in metadata and returns metadata.
// If metadata is nil, setEntry allocates a map. If the entry is malformed, setEntry sets r.err and
// stores nothing.
func (r *reader) setEntry(metadata map[string]string) map[string]string {
	if !r.countEntry() {
		return metadata
	}
	var key, value []byte
	entry := reader{rest: r.bytes}
	for entry.next() {
		switch entry.tag {
		case entryTagKey:
			key = entry.text()
		case entryTagValue:
			value = entry.text()
		}
	}
	if entry.err != nil {
		r.err = entry.err
		return metadata
	}
	if metadata == nil {
		metadata = make(map[string]string)
	}
	metadata[string(key)] = string(value)
	return metadata
}

// checkMetadata returns an error if a receiver would reject the metadata.
func checkMetadata(metadata map[string]string) error {
	if len(metadata) > MaxEntries {
		return errTooMuchMetadata
	}
	for key, value := range metadata {
		if !utf8.ValidString(key) || !utf8.ValidString(value) {
			return errInvalidText
		}
	}
	return nil
}

func sizeMetadata(tag uint64, metadata map[string]string) int {
	size := 0
	for key, value := range metadata {
		size += sizeLengthDelimited(tag, sizeEntry(key, value))
	}
	return size
}

func appendMetadata(dst []byte, tag uint64, metadata map[string]string) []byte {
	for key, value := range metadata {
		dst = appendTagAndLength(dst, tag, sizeEntry(key, value))
		dst = append(appendTagAndLength(dst, entryTagKey, len(key)), key...)
		dst = append(appendTagAndLength(dst, entryTagValue, len(value)), value...)
	}
	return dst
}

// sizeEntry returns the encoded size of a map entry. The key and the value are encoded even if they
// are empty.
func sizeEntry(key, value string) int {
	return sizeLengthDelimited(entryTagKey, len(key)) + sizeLengthDelimited(entryTagValue, len(value))
}
