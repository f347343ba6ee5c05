package main

import "unsafe"

func pointer(value *[2]uint64) uintptr { return uintptr(unsafe.Pointer(value)) }
