package deploy

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/dynpsrpc/dynpsrpc/bus/natsbus"
	"github.com/dynpsrpc/dynpsrpc/errors"
	"github.com/dynpsrpc/dynpsrpc/internal/testenv"
)

const (
	caSource      = "/etc/ssl/certs/ca-certificates.crt"
	programSource = "/psrpc"
)

// image describes the last stage of deploy/Dockerfile.
type image struct {
	// files maps the paths of files in the image to their paths in the stage that builds them.
	files      map[string]string
	user       uint32
	entrypoint []string
}

// readImage reads the last stage of deploy/Dockerfile, which begins with an empty image.
func readImage(t *testing.T) image {
	t.Helper()
	i := image{files: map[string]string{}}
	_, stage, found := strings.Cut(string(read(t, "Dockerfile")), "\nFROM scratch\n")
	require.True(t, found)
	for lines := bufio.NewScanner(strings.NewReader(stage)); lines.Scan(); {
		instruction, arguments, _ := strings.Cut(lines.Text(), " ")
		switch words := strings.Fields(arguments); instruction {
		case "COPY":
			require.Equal(t, "--from=build", words[0])
			i.files[words[2]] = words[1]
		case "USER":
			var group uint32
			_, err := fmt.Sscanf(arguments, "%d:%d", &i.user, &group)
			require.NoError(t, err)
			require.Equal(t, i.user, group)
		case "ENTRYPOINT":
			require.NoError(t, json.Unmarshal([]byte(arguments), &i.entrypoint))
		case "EXPOSE", "#", "":
		default:
			t.Fatalf("the test does not know the instruction %s", instruction)
		}
	}
	return i
}

// unpack writes the files of the image into a folder. sources maps paths in the build stage to
// files on this machine.
func (i image) unpack(t *testing.T, sources map[string]string) (folder string) {
	t.Helper()
	folder = t.TempDir()
	for target, source := range i.files {
		content, err := os.ReadFile(sources[source])
		require.NoError(t, err, "%s", source)
		file := filepath.Join(folder, target)
		require.NoError(t, os.MkdirAll(path.Dir(file), 0o755))
		require.NoError(t, os.WriteFile(file, content, 0o755))
	}
	return folder
}

// command returns a command that runs the program of the image as the user of the image. The root
// directory of the program is folder. If the test does not run as root, the command creates a user
// namespace.
func (i image) command(t *testing.T, folder string, args ...string) *exec.Cmd {
	t.Helper()
	command := exec.CommandContext(t.Context(), i.entrypoint[0], append(slices.Clone(i.entrypoint[1:]), args...)...)
	command.Dir = "/"
	command.SysProcAttr = &syscall.SysProcAttr{
		Chroot: folder, Credential: &syscall.Credential{Uid: i.user, Gid: i.user, NoSetGroups: os.Getuid() != 0},
		Pdeathsig: syscall.SIGKILL,
	}
	if os.Getuid() != 0 {
		command.SysProcAttr.Cloneflags = syscall.CLONE_NEWUSER
		command.SysProcAttr.UidMappings = []syscall.SysProcIDMap{{ContainerID: int(i.user), HostID: os.Getuid(), Size: 1}}
		command.SysProcAttr.GidMappings = []syscall.SysProcIDMap{{ContainerID: int(i.user), HostID: os.Getgid(), Size: 1}}
	}
	return command
}

// In a folder that contains only the files of the image, psrpc must connect to a broker over TLS,
// serve HTTP, and end on SIGTERM. It verifies the broker's certificate with the image's file of
// certificate authorities.
func TestImage_NeedsOnlyItsFiles(t *testing.T) {
	t.Parallel()
	certificate := testenv.NewCertificate(t)
	broker := testenv.NATS(t, func(o *server.Options) {
		o.TLSConfig = &tls.Config{Certificates: []tls.Certificate{certificate.Certificate}, MinVersion: tls.VersionTLS12}
	})
	nc, err := nats.Connect(broker.URL(), append(natsbus.ConnOptions(), nats.RootCAs(certificate.File))...)
	require.NoError(t, err)
	t.Cleanup(nc.Close)
	b, err := natsbus.New(nc)
	require.NoError(t, err)
	t.Cleanup(func() { assert.NoError(t, b.Close()) })
	serveGreeter(t, b)

	i := readImage(t)
	require.NotZero(t, i.user, "the program must not run as root")
	folder := i.unpack(t, map[string]string{programSource: psrpc(t), caSource: certificate.File})
	require.Len(t, i.files, 2)
	arguments := []string{"gateway", "--listen", "127.0.0.1:0", "--methods", "greeting.Greeter/*"}
	command := i.command(t, folder, arguments...)
	command.Env = []string{"PSRPC_BUS=" + broker.URL()}
	g := startGateway(t, command)
	assert.Equal(t, "ok", get(t, g.announced["gateway"]+"/readyz"))
	call(t, g.announced["gateway"])
	g.stop(t)
	assert.Empty(t, g.stderr.String())

	// The program must not connect to a broker whose certificate was not signed by an authority in
	// the file.
	foreign := i.unpack(t, map[string]string{programSource: psrpc(t), caSource: testenv.NewCertificate(t).File})
	command = i.command(t, foreign, arguments...)
	command.Env = []string{"PSRPC_BUS=" + broker.URL()}
	output, err := command.CombinedOutput()
	ended, isExit := errors.AsType[*exec.ExitError](err)
	require.True(t, isExit, "%v", err)
	assert.Equal(t, 3, ended.ExitCode(), "%s", output)
	assert.True(t, bytes.Contains(output, []byte("certificate")), "%s", output)
}
