package redisbus

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net/url"
	"os"

	"github.com/dynpsrpc/dynpsrpc/errors"
	"github.com/dynpsrpc/dynpsrpc/internal/busurl"
)

// tlsFiles contains the names of the files that the tls parameters of a URL specify. A name is
// empty if its parameter is missing.
type tlsFiles struct{ ca, cert, key string }

// takeTLSFiles removes the tls parameters from query and returns them.
func takeTLSFiles(query url.Values) (tlsFiles, error) {
	var files tlsFiles
	for name, file := range map[string]*string{"tls_ca": &files.ca, "tls_cert": &files.cert, "tls_key": &files.key} {
		var found bool
		if *file, found = busurl.Take(query, name); !found {
			continue
		}
		if *file == "" || busurl.IsSecret(*file) {
			return files, fmt.Errorf("parameter %s must be the name of a file", name)
		}
	}
	return files, busurl.CheckKeyPair(files.cert, files.key)
}

// apply adds the content of the files to config, which is nil if the URL does not specify TLS.
func (f tlsFiles) apply(config *tls.Config) error {
	if f == (tlsFiles{}) {
		return nil
	}
	if config == nil {
		return errors.New("tls_ca, tls_cert and tls_key need TLS, with a scheme such as rediss://")
	}
	if f.ca != "" {
		pem, err := os.ReadFile(f.ca)
		if err != nil {
			return fileError("tls_ca", f.ca, err)
		}
		config.RootCAs = x509.NewCertPool()
		if !config.RootCAs.AppendCertsFromPEM(pem) {
			return errors.New("the file of parameter tls_ca contains no certificate in PEM format")
		}
	}
	if f.cert != "" {
		certificate, err := tls.LoadX509KeyPair(f.cert, f.key)
		if err != nil {
			return fileError("tls_cert or tls_key", f.cert+f.key, err)
		}
		config.Certificates = []tls.Certificate{certificate}
	}
	return nil
}

// fileError returns the error for a file that cannot be used. err contains the name of the file. If
// the name may contain a password, the returned error leaves err out.
func fileError(parameter, file string, err error) error {
	if !busurl.MayShow(file) {
		return fmt.Errorf("the file of parameter %s cannot be used", parameter)
	}
	return fmt.Errorf("parameter %s: %w", parameter, err)
}
