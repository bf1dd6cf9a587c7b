package selection

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/dynpsrpc/dynpsrpc/internal/wire"
)

// claimsOf returns the claims of servers. A negative number n stands for the server -n, which
// declines the request.
func claimsOf(servers ...int) (claims []wire.ClaimRequest) {
	for _, server := range servers {
		claims = append(claims, wire.ClaimRequest{ServerID: fmt.Append(nil, "SRV_", max(server, -server)), Declined: server < 0})
	}
	return claims
}

// willing returns the addresses of the willing members.
func willing(d *Directory) []string {
	addresses := []string{}
	if members := d.willing.members.Load(); members != nil {
		for _, member := range *members {
			addresses = append(addresses, member.address)
		}
	}
	return addresses
}

// The claims of several calls are collected before the first member is chosen. A member is willing
// until its latest claim is too old.
func TestDirectory_Willing(t *testing.T) {
	t.Parallel()
	d := directoryOf(5)
	start := time.Hour
	d.OnClaims(claimsOf(0), true, start, start)
	d.OnClaims(claimsOf(1, -2, 3), true, start+updateInterval-1, start+updateInterval-1)
	require.Nil(t, d.ChooseWilling(start+updateInterval-1))
	d.OnClaims(claimsOf(0, -3), true, start+updateInterval, start+updateInterval)
	assert.Equal(t, []string{"0", "1"}, willing(d))
	for range 5 {
		require.NotNil(t, d.ChooseWilling(start+updateInterval+1))
	}

	now := start + updateInterval + recountInterval
	assert.Nil(t, d.ChooseWilling(now), "this request goes to all servers")
	assert.NotNil(t, d.ChooseWilling(now))
	d.OnClaims(claimsOf(2), true, now, now)
	assert.Equal(t, []string{"0", "1", "2"}, willing(d))
	d.OnClaims(claimsOf(2), true, start+willingTime+updateInterval-1, start+willingTime+updateInterval-1)
	assert.Equal(t, []string{"0", "2"}, willing(d))
	d.OnClaims(nil, true, now+2*willingTime, now+2*willingTime)
	assert.Nil(t, d.ChooseWilling(now+2*willingTime))
}

// A member that leaves, is suspected or declines a request is not willing.
func TestDirectory_NotWilling(t *testing.T) {
	t.Parallel()
	d := directoryOf(4)
	d.OnClaims(claimsOf(0, 1, 2, 3), true, 1, 1)
	d.OnClaims(claimsOf(0, 1, 2, 3), true, time.Second, time.Second)
	require.Len(t, willing(d), 4)
	d.Remove("0")
	d.Suspect(d.members["1"])
	d.OnDeclined(d.members["2"], time.Second)
	assert.Equal(t, []string{"3"}, willing(d))
	d.Add("S", "SRV_1", "1", "bus1")
	assert.Equal(t, []string{"3"}, willing(d), "it must claim a request first")
	d.Suspect(d.members["1"])
	d.Remove("3")
	assert.Nil(t, d.ChooseWilling(time.Second))
	d.OnClaims(claimsOf(1), true, 2*time.Second, 2*time.Second)
	assert.Equal(t, []string{"1"}, willing(d), "its claim shows that it is there")
}

// A claim counts from the time of the request, even if the call ends much later. A member whose
// latest claim is old is not chosen, even if there were no requests since then.
func TestDirectory_NotWillingAfterOldClaims(t *testing.T) {
	t.Parallel()
	d := directoryOf(2)
	start, end := time.Hour, time.Hour+willingTime
	d.OnClaims(claimsOf(0, 1), true, start, end)
	d.OnClaims(claimsOf(0, 1), true, start, end+updateInterval)
	assert.Empty(t, willing(d))
	d.OnClaims(claimsOf(0), true, end+updateInterval, end+2*updateInterval)
	d.OnClaims(claimsOf(0), true, start, end+3*updateInterval)
	assert.Equal(t, []string{"0"}, willing(d), "an older claim changes nothing")

	d.Suspect(d.members["1"])
	d.OnClaims(claimsOf(1), true, start, end+4*updateInterval)
	require.True(t, d.members["1"].suspected, "the claim may be older than the suspicion")

	idle := end + updateInterval + willingTime
	require.Nil(t, d.ChooseWilling(idle-1), "this request goes to all servers")
	require.NotNil(t, d.ChooseWilling(idle-1))
	assert.Nil(t, d.ChooseWilling(idle))
	assert.EqualValues(t, 1, d.members["0"].calls.Load())
}

// All requests go to all servers while a server that is not a member makes claims, while servers
// may be unknown, and while the bus counts receivers that are not members.
func TestDirectory_NoneWillingBesideOthers(t *testing.T) {
	t.Parallel()
	d := directoryOf(2)
	now := time.Hour
	update := func(complete bool, servers ...int) []string {
		now += updateInterval
		d.OnClaims(claimsOf(servers...), complete, now, now)
		return willing(d)
	}
	update(true, 0, 1)
	require.Len(t, update(true), 2)
	assert.Empty(t, update(false, 0, 7))
	require.Len(t, update(true, 0), 2)
	assert.Empty(t, update(true, 0, 7))
	assert.Empty(t, update(true, 0, 1))
	now += othersPause - 2*updateInterval - 1
	assert.Empty(t, update(true, 0, 1))
	require.Len(t, update(true, 0), 2)
	d.OnCounted(3, now)
	assert.Empty(t, willing(d))
	d.OnCounted(2, now)
	require.Len(t, update(true, 0), 2)
	d.Disable()
	assert.Empty(t, willing(d))
	assert.Empty(t, update(true, 0, 1))
}

// If a server that is not a member makes claims, a few discovery requests find out whether it can
// become one. The interval between them doubles.
func TestDirectory_AsksOthers(t *testing.T) {
	t.Parallel()
	d := directoryOf(2)
	asks := func(start time.Duration) (asks int) {
		for now := start; now < start+2*time.Minute; now += askDelay / 2 {
			if d.OnClaims(claimsOf(0, 7), true, now, now) {
				asks++
			}
		}
		return asks
	}
	assert.False(t, d.OnClaims(claimsOf(0, 7), false, 0, 0), "the server may not have announced itself yet")
	assert.False(t, d.OnClaims(claimsOf(0, 1), true, 0, 0))
	assert.Equal(t, maxAsks, asks(time.Hour))
	d.Remove("1")
	assert.Equal(t, maxAsks, asks(2*time.Hour))
	d.Add("S", "SRV_7", "7", "bus7")
	assert.Zero(t, asks(3*time.Hour))
}

// After two declines in a row, the requests go to all servers for a second, and then for twice as
// long each time, but for at most a minute.
func TestDirectory_PausesAfterDeclines(t *testing.T) {
	t.Parallel()
	d := directoryOf(3)
	now := time.Hour
	d.OnClaims(claimsOf(0, 1, 2), true, now, now)
	now += updateInterval
	d.OnClaims(claimsOf(0, 1, 2), true, now, now)
	d.OnDeclined(d.members["0"], now)
	require.Len(t, willing(d), 2)
	d.OnAccepted()
	d.OnDeclined(d.members["1"], now)
	require.Len(t, willing(d), 1)
	for pause := range 10 {
		d.OnDeclined(d.members["2"], now)
		d.OnDeclined(d.members["2"], now) // counts only once
		require.Empty(t, willing(d))
		now += min(time.Second<<pause, time.Minute) - 1
		d.OnClaims(claimsOf(0, 1, 2), true, now, now)
		require.Empty(t, willing(d))
		now++
		d.OnClaims(claimsOf(0, 1, 2), true, now, now)
		require.Len(t, willing(d), 3)
	}
}
