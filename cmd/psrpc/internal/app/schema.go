package app

import (
	"context"

	"github.com/spf13/cobra"

	"github.com/dynpsrpc/dynpsrpc/cmd/psrpc/internal/schema"
	"github.com/dynpsrpc/dynpsrpc/errors"
	"github.com/dynpsrpc/dynpsrpc/registry"
)

// AddDigest adds the flag --digest to a verb that needs a schema.
func (a *App) AddDigest(command *cobra.Command) {
	command.Flags().StringVar(&a.Flags.Digest, "digest", "", "version of the service to use, if its servers have several: the first digits of its digest")
}

// Schema returns the chain of places in which schemas are looked for: the files that the settings
// name, the servers, and the cache.
func (a *App) Schema() (*schema.Chain, error) {
	if a.schema != nil {
		return a.schema, nil
	}
	settings, err := a.Settings()
	if err != nil {
		return nil, err
	}
	a.schema = schema.New(a.Registry(),
		&schema.Files{Proto: settings.Proto, Import: settings.Import, DescriptorSet: settings.DescriptorSet},
		&schema.Cache{Dir: a.CacheDir(), Check: schema.HasDigest},
		a.fleetForSchema, a.Flags.Digest)
	return a.schema, nil
}

// Method finds a method by its name and adds it to the registry of the conn. The end of a full name
// suffices if only one method has it.
func (a *App) Method(ctx context.Context, name string) (*registry.Method, error) {
	chain, err := a.Schema()
	if err != nil {
		return nil, err
	}
	method, err := chain.Method(ctx, name)
	return method, schemaError(err)
}

// Service finds a service by its name and adds it to the registry of the conn. The end of a full
// name suffices if only one service has it.
func (a *App) Service(ctx context.Context, name string) (*registry.Service, error) {
	chain, err := a.Schema()
	if err != nil {
		return nil, err
	}
	service, err := chain.Service(ctx, name)
	return service, schemaError(err)
}

// Origin says where the schema of a service was found.
func (a *App) Origin(service *registry.Service) string {
	if a.schema == nil {
		return "from the files"
	}
	return a.schema.Origin(service)
}

// schemaError adds an exit code or advice to an error of a chain.
func schemaError(err error) error {
	_, severalVersions := errors.AsType[*schema.VersionsError](err)
	if severalVersions || errors.Is(err, schema.ErrAmbiguous) {
		return Exit(ExitUsage, err)
	}
	if errors.Is(err, schema.ErrNotFound) {
		return Hint(err, "psrpc list shows what is on the bus; servers that cannot tell their schema need -p FILE")
	}
	return err
}
