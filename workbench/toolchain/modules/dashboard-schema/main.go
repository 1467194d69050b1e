// Command dashboard-schema holds a dashboard's JSON against Grafana's schema, by the Go types that Grafana makes of
// it: an unknown field, one that is missing or one of another type is an error. The words that a field may have are
// not checked by it. It knows the kinds of panels that the dashboard has, and none besides: each one more is a
// package to compile.
package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"

	"github.com/grafana/grafana-foundation-sdk/go/bargauge"
	"github.com/grafana/grafana-foundation-sdk/go/cog"
	"github.com/grafana/grafana-foundation-sdk/go/cog/variants"
	"github.com/grafana/grafana-foundation-sdk/go/dashboard"
	"github.com/grafana/grafana-foundation-sdk/go/prometheus"
	"github.com/grafana/grafana-foundation-sdk/go/stat"
	"github.com/grafana/grafana-foundation-sdk/go/statetimeline"
	"github.com/grafana/grafana-foundation-sdk/go/table"
	"github.com/grafana/grafana-foundation-sdk/go/timeseries"
)

func main() {
	if len(os.Args) != 2 {
		fmt.Fprintln(os.Stderr, "usage: dashboard-schema FILE")
		os.Exit(2)
	}
	raw, err := os.ReadFile(os.Args[1])
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(2)
	}
	if err := check(raw); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func check(raw []byte) error {
	known := map[string]bool{"row": true}
	for _, config := range []variants.PanelcfgConfig{
		bargauge.VariantConfig(), stat.VariantConfig(), statetimeline.VariantConfig(), table.VariantConfig(),
		timeseries.VariantConfig(),
	} {
		cog.NewRuntime().RegisterPanelcfgVariant(config)
		known[config.Identifier] = true
	}
	cog.NewRuntime().RegisterDataqueryVariant(prometheus.VariantConfig())
	if err := checkKinds(raw, known); err != nil {
		return err
	}
	var board dashboard.Dashboard
	if err := found(board.UnmarshalJSONStrict(raw)); err != nil {
		return err
	}
	return found(board.Validate())
}

// The SDK returns a list of errors that is an error also when it is empty.
func found(err error) error {
	var list cog.BuildErrors
	if errors.As(err, &list) && len(list) == 0 {
		return nil
	}
	return err
}

// The SDK takes the options of a panel that it does not know unread.
func checkKinds(raw []byte, known map[string]bool) error {
	var board struct {
		Panels []struct{ Type, Title string }
	}
	if err := json.Unmarshal(raw, &board); err != nil {
		return err
	}
	for _, panel := range board.Panels {
		if !known[panel.Type] {
			return fmt.Errorf("%s: panels of the type %q are not known here", panel.Title, panel.Type)
		}
	}
	return nil
}
