package guest

import (
	"time"
	"unsafe"
)

// abiVersion is the version of the ABI that this package implements. See ABI.md in the parent
// directory.
const abiVersion = 1

// errorFlag is the bit in the result of dynpsrpc_call that marks the result as an error. The lower
// 32 bits of the result contain the length of the response, and errorFlag is the highest of these
// bits.
const errorFlag = 1 << 31

var (
	// inputBuffer is the buffer into which the host writes requests. The variable keeps the buffer
	// from being garbage-collected between requests, when nothing else in the program refers to it.
	inputBuffer []byte
	// result holds the bytes that were last returned to the host. The variable keeps the bytes from
	// being garbage-collected before the host has copied them.
	result []byte
)

//go:wasmexport dynpsrpc_version
func exportedVersion() uint32 { return abiVersion }

//go:wasmexport dynpsrpc_alloc
func exportedAlloc(size uint32) unsafe.Pointer {
	inputBuffer = make([]byte, size)
	return unsafe.Pointer(unsafe.SliceData(inputBuffer))
}

//go:wasmexport dynpsrpc_describe
func exportedDescribe() uint64 {
	return packResult([]byte(registered.describe()))
}

//go:wasmexport dynpsrpc_call
func exportedCall(method uint32, address unsafe.Pointer, size uint32, deadline int64) uint64 {
	request := unsafe.Slice((*byte)(address), size)
	response, failed := registered.call(int(method), request, time.Unix(0, deadline))
	if failed {
		return packResult(response) | errorFlag
	}
	return packResult(response)
}

// packResult returns a number with the address of a result in its upper 32 bits and the length in
// its lower 32 bits. It keeps the result alive until the next call to packResult.
func packResult(bytes []byte) uint64 {
	result = bytes
	return uint64(uintptr(unsafe.Pointer(unsafe.SliceData(bytes))))<<32 | uint64(len(bytes))
}
