package peer

import (
	"reflect"
	"testing"
)

func TestChangedEncoderContinuesAtTheBeginningOfAGroup(t *testing.T) {
	o := testOptions("null")
	o.DataShard, o.ParityShard = 10, 3
	session, err := o.Dial("127.0.0.1:9")
	if err != nil {
		t.Fatal(err)
	}
	defer session.Close()
	if err := changeFEC(session, 3, 1); err != nil {
		t.Fatal(err)
	}
	encoder := reflect.ValueOf(session).Elem().FieldByName("fecEncoder").Elem()
	next := encoder.FieldByName("next").Uint()
	if shards := encoder.FieldByName("dataShards").Int(); shards != 3 || next == 0 || next%4 != 0 {
		t.Fatalf("%d data shards, next number %d", shards, next)
	}
	if changeFEC(session, 300, 1) == nil {
		t.Error("want an error for an unusable ratio")
	}
}

func TestUnusableOptionsAreRefused(t *testing.T) {
	for name, spoil := range map[string]func(o *Options){
		"cipher":          func(o *Options) { o.Crypt = "rot13" },
		"mode":            func(o *Options) { o.Mode = "fast9" },
		"data only":       func(o *Options) { o.DataShard = 3 },
		"too many shards": func(o *Options) { o.DataShard, o.ParityShard = 250, 7 },
		"negative parity": func(o *Options) { o.DataShard, o.ParityShard = 3, -1 },
		"parity only":     func(o *Options) { o.ParityShard = 1 },
	} {
		o := testOptions("aes")
		spoil(&o)
		if o.Validate() == nil {
			t.Errorf("%s: want an error", name)
		}
	}
}

func testOptions(crypt string) Options {
	return Options{
		Crypt: crypt, Key: "test password", Mode: "fast3", MTU: 1400, SndWnd: 1024, RcvWnd: 1024,
		SockBuf: 1 << 20, Stream: true, Bind: "127.0.0.1:0",
	}
}
