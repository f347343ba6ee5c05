// attempt tries what a program in a sandbox must not be able to do, and prints what became of each try: one JSON object, "" for
// what went well. It is written in Go because the programs that are confined are: what its runtime needs must go well.
package main

import (
	"encoding/json"
	"fmt"
	"net"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"
)

func main() {
	results := map[string]string{}
	for _, attempt := range os.Args[1:] {
		what, argument, _ := strings.Cut(attempt, ":")
		result := ""
		if err := try(what, argument); err != nil {
			result = err.Error()
		}
		results[attempt] = result
	}
	json.NewEncoder(os.Stdout).Encode(results)
}

// Numbers of calls, for amd64 and arm64.
var calls = map[string][2]uintptr{
	"ptrace":             {101, 117},
	"process_vm_readv":   {310, 270},
	"io_uring_setup":     {425, 425},
	"bpf":                {321, 280},
	"perf_event_open":    {298, 241},
	"userfaultfd":        {323, 282},
	"mount":              {165, 40},
	"unshare":            {272, 97},
	"setns":              {308, 268},
	"clone3":             {435, 435},
	"keyctl":             {250, 219},
	"add_key":            {248, 217},
	"kexec_load":         {246, 104},
	"memfd_create":       {319, 279},
	"execveat":           {322, 281},
	"open_by_handle_at":  {304, 265},
	"pidfd_open":         {434, 434},
	"pidfd_send_signal":  {424, 424},
	"shmget":             {29, 194},
	"mq_open":            {240, 180},
	"setsid":             {112, 157},
	"chroot":             {161, 51},
	"landlock_restrict":  {446, 446},
	"seccomp":            {317, 277},
	"rt_sigqueueinfo":    {129, 138},
	"sched_setaffinity":  {203, 122},
	"fchmodat":           {268, 53},
	"fchownat":           {260, 54},
	"utimensat":          {280, 88},
	"setxattr":           {188, 5},
	"socketpair":         {53, 199},
	"x32_getpid":         {0x40000000 + 39, 9999},
	"unknown_to_anybody": {9999, 9999},
}

func try(what, argument string) error {
	switch what {
	case "read":
		_, err := os.ReadFile(argument)
		return err
	case "contains":
		path, text, _ := strings.Cut(argument, "=")
		content, err := os.ReadFile(path)
		if err == nil && !strings.Contains(string(content), text) {
			err = fmt.Errorf("%q is not in %q", text, content)
		}
		return err
	case "list":
		_, err := os.ReadDir(argument)
		return err
	case "write":
		return os.WriteFile(argument, []byte("written\n"), 0o600)
	case "rename":
		from, to, _ := strings.Cut(argument, "=")
		return os.Rename(from, to)
	case "remove":
		return os.Remove(argument)
	case "chmod":
		return os.Chmod(argument, 0o777)
	case "truncate":
		return os.Truncate(argument, 0)
	case "link":
		from, to, _ := strings.Cut(argument, "=")
		return os.Link(from, to)
	case "through":
		// A symbolic link of one's own that leads out.
		target, link, _ := strings.Cut(argument, "=")
		if err := os.Symlink(target, link); err != nil {
			return fmt.Errorf("cannot even make the link: %w", err)
		}
		_, err := os.ReadFile(link)
		return err
	case "fifo":
		return syscall.Mkfifo(argument, 0o600)
	case "dial":
		network, address, _ := strings.Cut(argument, "=")
		connection, err := net.DialTimeout(network, address, 2*time.Second)
		if err != nil {
			return err
		}
		_, err = connection.Write([]byte("let me out"))
		return err
	case "listen":
		_, err := net.Listen("tcp", argument)
		return err
	case "raw":
		domain, _ := strconv.Atoi(argument)
		_, err := syscall.Socket(domain, syscall.SOCK_DGRAM, 0)
		return err
	case "run":
		return exec.Command(argument, "-c", "true").Run()
	case "become":
		return syscall.Exec(argument, []string{argument, "--version"}, nil)
	case "signal":
		pid, _ := strconv.Atoi(argument)
		return syscall.Kill(pid, 0)
	case "limit":
		pid, _ := strconv.Atoi(argument)
		limit := [2]uint64{1 << 40, 1 << 40}
		_, _, errno := syscall.RawSyscall6(syscall.SYS_PRLIMIT64, uintptr(pid), 7, 0, pointer(&limit), 0, 0)
		return result(errno)
	case "call":
		numbers, known := calls[argument]
		if !known {
			return nil // which the test takes for a success of the attempt
		}
		number := numbers[0]
		if runtime.GOARCH == "arm64" {
			number = numbers[1]
		}
		// Arguments that are wrong for most calls: what is refused is refused before anybody looks at them.
		_, _, errno := syscall.RawSyscall6(number, 0, 0, 0, 0, 0, 0)
		return result(errno)
	case "compute":
		return compute()
	case "burn":
		for {
		}
	case "fill":
		file, err := os.Create(argument)
		if err != nil {
			return err
		}
		block := make([]byte, 1<<20)
		for {
			if _, err := file.Write(block); err != nil {
				return err
			}
		}
	case "zone":
		_, err := time.LoadLocation(argument)
		return err
	}
	return nil
}

func result(errno syscall.Errno) error {
	if errno == 0 {
		return nil
	}
	return errno
}

// Threads, garbage collection with its signals, timers.
func compute() error {
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			kept := [][]byte{}
			for n := range 200 {
				kept = append(kept, make([]byte, 64<<10))
				if n%50 == 0 {
					kept = nil
					runtime.GC()
				}
			}
			runtime.LockOSThread()
			time.Sleep(5 * time.Millisecond)
		})
	}
	all.Wait()
	return nil
}
