package guest

import (
	"log/slog"
	"unsafe"
)

// hostLog calls the log function of the host.
func hostLog(level slog.Level, message string) {
	importedLog(int32(level), unsafe.Pointer(unsafe.StringData(message)), uint32(len(message)))
}

//go:wasmimport dynpsrpc log
func importedLog(level int32, message unsafe.Pointer, size uint32)
