package guest

import (
	"time"
	"unsafe"
)

// abiVersion is the version of the ABI that the functions below are of: see ABI.md in the folder above.
const abiVersion = 1

// errorFlag marks a result of dynpsrpc_call that is an error. It is the highest bit of the length.
const errorFlag = 1 << 31

var (
	room   []byte // where the host writes requests
	result []byte // what the host was given last, which must be there as long as the host reads it
)

//go:wasmexport dynpsrpc_version
func exportedVersion() uint32 { return abiVersion }

//go:wasmexport dynpsrpc_alloc
func exportedAlloc(size uint32) unsafe.Pointer {
	room = make([]byte, size)
	return unsafe.Pointer(unsafe.SliceData(room))
}

//go:wasmexport dynpsrpc_describe
func exportedDescribe() uint64 {
	return hand([]byte(served.describe()))
}

//go:wasmexport dynpsrpc_call
func exportedCall(method uint32, address unsafe.Pointer, size uint32, deadline int64) uint64 {
	request := unsafe.Slice((*byte)(address), size)
	response, failed := served.call(int(method), request, time.Unix(0, deadline))
	if failed {
		return hand(response) | errorFlag
	}
	return hand(response)
}

// hand returns where bytes are, and how many.
func hand(bytes []byte) uint64 {
	result = bytes
	return uint64(uintptr(unsafe.Pointer(unsafe.SliceData(bytes))))<<32 | uint64(len(bytes))
}
