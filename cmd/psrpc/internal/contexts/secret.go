package contexts

import (
	"context"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/dynpsrpc/dynpsrpc/errors"
)

// commandTimeout is how long a command that prints a secret may take.
const commandTimeout = 30 * time.Second

// variable matches a reference to an environment variable.
var variable = regexp.MustCompile(`\$\{([A-Za-z_][A-Za-z0-9_]*)\}`)

// Expand replaces the references in a value of the configuration file. The prefixes file: and cmd:
// stand for the content of a file and the output of a command, without the line break at the end.
// Other values are passed to [ExpandVariables]. The errors never contain a secret.
func Expand(value string, env func(string) string) (string, error) {
	if path, ok := strings.CutPrefix(value, "file:"); ok {
		return ReadSecret(path)
	}
	if command, ok := strings.CutPrefix(value, "cmd:"); ok {
		return output(command)
	}
	return ExpandVariables(value, env)
}

// ReadSecret returns the content of a file without the line break at the end.
func ReadSecret(path string) (string, error) {
	content, err := os.ReadFile(path) //nolint:gosec // the user has named it
	if err != nil {
		return "", fmt.Errorf("secret: %w", err)
	}
	return strings.TrimRight(string(content), "\r\n"), nil
}

// ExpandVariables replaces each ${NAME} in a value by the environment variable NAME, which must be
// set. The errors never contain a secret.
func ExpandVariables(value string, env func(string) string) (string, error) {
	var missing []string
	expanded := variable.ReplaceAllStringFunc(value, func(reference string) string {
		name := variable.FindStringSubmatch(reference)[1]
		if env(name) == "" {
			missing = append(missing, name)
		}
		return env(name)
	})
	if len(missing) > 0 {
		return "", errors.NewErrorf(errors.FailedPrecondition, "the environment variable %s is not set", strings.Join(missing, ", "))
	}
	return expanded, nil
}

// output runs a command line that the user has configured, and returns what it prints. It splits
// the command line at spaces and does not use a shell.
func output(commandLine string) (string, error) {
	words := strings.Fields(commandLine)
	if len(words) == 0 {
		return "", errors.NewErrorf(errors.InvalidArgument, "cmd: names no command")
	}
	ctx, cancel := context.WithTimeout(context.Background(), commandTimeout)
	defer cancel()
	command := exec.CommandContext(ctx, words[0], words[1:]...) //nolint:gosec // the user has configured it
	command.Stderr = os.Stderr
	printed, err := command.Output()
	if err != nil {
		return "", fmt.Errorf("command %s: %w", words[0], err)
	}
	return strings.TrimRight(string(printed), "\r\n"), nil
}

// secretParameters are the URL parameters whose values are secrets.
var secretParameters = []string{"password", "sentinel_password", "token"}

// secretKeys are parts of metadata keys. The value of a key that contains one of them is usually a
// secret.
var secretKeys = []string{"auth", "cookie", "credential", "jwt", "passw", "secret", "token", "api-key", "api_key", "apikey"}

// hidden is shown instead of a secret.
const hidden = "[hidden]"

// HasPassword reports whether the URL of a bus contains a password or a token.
func HasPassword(busURL string) bool {
	return strings.ContainsAny(busURL, "@?") && RedactURL(busURL) != busURL
}

// RedactURL returns the URL of a bus without its password or token. A value that is a reference to a
// secret is returned unchanged. If a part cannot be parsed, it is hidden as well.
func RedactURL(busURL string) string {
	if busURL == "" || strings.HasPrefix(busURL, "file:") || strings.HasPrefix(busURL, "cmd:") {
		return busURL
	}
	scheme, rest, found := strings.Cut(busURL, "://")
	if !found {
		return hidden
	}
	// The last at sign ends the part with user and password. Everything before it belongs to that
	// part, even a slash, because a password that is not percent-encoded may contain one.
	base, query, hasQuery := strings.Cut(rest, "?")
	if strings.Contains(query, "@") || strings.Contains(query, "%40") {
		return scheme + "://" + hidden // The password contains a question mark, or a parameter is a URL with a password.
	}
	if at := strings.LastIndexByte(base, '@'); at >= 0 {
		base = redactUser(scheme, base[:at]) + base[at:]
	}
	redacted := scheme + "://" + base
	if hasQuery {
		redacted += "?" + redactQuery(query)
	}
	return redacted
}

// redactUser hides the password in user:password. On NATS, a user without a password is a token, so
// it is hidden, too. A name with an at sign or a comma is hidden, because it contains the user of
// another host.
func redactUser(scheme, user string) string {
	name, password, hasPassword := strings.Cut(user, ":")
	switch {
	case strings.ContainsAny(name, "@,"):
		return hidden
	case hasPassword && !isReference(password):
		return name + ":" + hidden
	case !hasPassword && (scheme == "nats" || scheme == "tls") && !isReference(user):
		return hidden
	default:
		return user
	}
}

func redactQuery(query string) string {
	parameters := strings.Split(query, "&")
	for i, parameter := range parameters {
		name, value, _ := strings.Cut(parameter, "=")
		if decoded, err := url.QueryUnescape(name); err != nil || slices.Contains(secretParameters, decoded) && !isReference(value) {
			parameters[i] = name + "=" + hidden
		}
	}
	return strings.Join(parameters, "&")
}

// Hosts returns the URL of a bus without user, password and parameters. It removes everything
// before the last at sign, even hosts. If a part of a password could remain, it returns "the bus".
func Hosts(busURL string) string {
	scheme, rest, found := strings.Cut(busURL, "://")
	rest, query, _ := strings.Cut(rest, "?")
	if !found || strings.Contains(query, "@") || strings.Contains(rest, "#") {
		return "the bus" // a password may have been split, so no part of the URL is safe to show
	}
	return scheme + "://" + rest[strings.LastIndexByte(rest, '@')+1:]
}

// isReference reports whether a value consists of one reference to an environment variable.
func isReference(value string) bool { return variable.FindString(value) == value && value != "" }

// Redacted returns a copy of the context that contains no secrets.
func (c Context) Redacted() Context {
	c.Bus = RedactURL(c.Bus)
	c.Monitor = RedactURL(c.Monitor)
	c.Metadata = RedactMetadata(c.Metadata)
	return c
}

// StoresSecret reports whether the context contains a secret itself, instead of a reference to it.
func (c Context) StoresSecret() bool {
	for key, value := range c.Metadata {
		isElsewhere := variable.MatchString(value) || strings.HasPrefix(value, "file:") || strings.HasPrefix(value, "cmd:")
		if IsSecretKey(key) && !isElsewhere {
			return true
		}
	}
	return HasPassword(c.Bus) || HasPassword(c.Monitor)
}

// RedactMetadata returns a copy of metadata in which the values of keys that usually hold secrets
// are hidden.
func RedactMetadata(metadata map[string]string) map[string]string {
	redacted := make(map[string]string, len(metadata))
	for key, value := range metadata {
		if IsSecretKey(key) && !isReference(value) {
			value = hidden
		}
		redacted[key] = value
	}
	return redacted
}

// IsSecretKey reports whether the value of a metadata key is usually a secret.
func IsSecretKey(key string) bool {
	lower := strings.ToLower(key)
	return slices.ContainsFunc(secretKeys, func(secret string) bool { return strings.Contains(lower, secret) })
}
