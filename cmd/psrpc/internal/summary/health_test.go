package summary_test

import (
	"testing"

	"github.com/stretchr/testify/assert"

	"github.com/dynpsrpc/dynpsrpc/cmd/psrpc/internal/summary"
	"github.com/dynpsrpc/dynpsrpc/dynamic/fleet"
)

func TestStatusOf(t *testing.T) {
	t.Parallel()
	well := &fleet.Server{Health: fleet.Health{
		Status:   fleet.StatusServing,
		Services: map[string]fleet.ServingStatus{"shop.Orders": fleet.StatusNotServing, "shop.Carts": fleet.StatusServing},
	}}
	assert.Equal(t, fleet.StatusNotServing, summary.StatusOf(well, ""), "one service is not well")
	assert.Equal(t, fleet.StatusNotServing, summary.StatusOf(well, "shop.Orders"))
	assert.Equal(t, fleet.StatusServing, summary.StatusOf(well, "shop.Carts"))
	assert.Equal(t, fleet.StatusServing, summary.StatusOf(well, "shop.Others"))
	for range 20 { // The order of the services differs.
		unclear := &fleet.Server{Health: fleet.Health{Status: fleet.StatusServing, Services: map[string]fleet.ServingStatus{
			"shop.Orders": fleet.StatusUnknown, "shop.Carts": fleet.StatusNotServing, "shop.Others": fleet.StatusServing,
		}}}
		assert.Equal(t, fleet.StatusNotServing, summary.StatusOf(unclear, ""))
	}
	unwell := &fleet.Server{Health: fleet.Health{
		Status: fleet.StatusNotServing, Services: map[string]fleet.ServingStatus{"shop.Carts": fleet.StatusServing},
	}}
	assert.Equal(t, fleet.StatusNotServing, summary.StatusOf(unwell, "shop.Carts"), "a check of the whole server fails")
}
