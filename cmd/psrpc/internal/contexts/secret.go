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

// Expand replaces the references in a value. The prefixes file: and cmd: stand for the content of a
// file and the output of a command, without the line break at the end. Everywhere in a value,
// ${NAME} stands for an environment variable, which must be set. The errors never contain a secret.
func Expand(value string, env func(string) string) (string, error) {
	if path, ok := strings.CutPrefix(value, "file:"); ok {
		content, err := os.ReadFile(path) //nolint:gosec // the user has configured it
		if err != nil {
			return "", fmt.Errorf("secret: %w", err)
		}
		return strings.TrimRight(string(content), "\r\n"), nil
	}
	if command, ok := strings.CutPrefix(value, "cmd:"); ok {
		return output(command)
	}
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

// output runs a command line that the user has configured, and returns what it prints. The words of
// the command line are separated by spaces; no shell runs.
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

// secretKeys are the metadata keys whose values are secrets.
var secretKeys = []string{"authorization", "cookie", "password", "secret", "token", "api-key", "apikey"}

// hidden is shown instead of a secret.
const hidden = "[hidden]"

// HasPassword reports whether the URL of a bus contains a password or a token.
func HasPassword(busURL string) bool { return RedactURL(busURL) != busURL }

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
	if strings.Contains(query, "@") {
		return scheme + "://" + hidden // The password contains a question mark.
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
// it is hidden, too.
func redactUser(scheme, user string) string {
	name, password, hasPassword := strings.Cut(user, ":")
	switch {
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

// isReference reports whether a value consists of one reference to an environment variable.
func isReference(value string) bool { return variable.FindString(value) == value && value != "" }

// Redacted returns a copy of the context that contains no secrets.
func (c Context) Redacted() Context {
	c.Bus = RedactURL(c.Bus)
	c.Monitor = RedactURL(c.Monitor)
	c.Metadata = RedactMetadata(c.Metadata)
	return c
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
