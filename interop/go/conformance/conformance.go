// Package conformance contains grpc-go's own interoperability server and client, over kcp-go.
//
// The cases are those of https://github.com/grpc/grpc/blob/master/doc/interop-test-descriptions.md.
package conformance

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"flag"
	"fmt"
	"os"

	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
)

// identity contains the files of one side for mutual TLS. Without files, there is no TLS.
type identity struct {
	ca, cert, key string
}

func (i *identity) register(fs *flag.FlagSet) {
	fs.StringVar(&i.ca, "tls-ca", "", "PEM file with the certificate authority of the other side; with it, both sides need certificates")
	fs.StringVar(&i.cert, "tls-cert", "", "PEM file with the certificate of this side")
	fs.StringVar(&i.key, "tls-key", "", "PEM file with the key of this side")
}

// credentials returns those for both clients and servers.
func (i *identity) credentials() (credentials.TransportCredentials, error) {
	if i.ca == "" {
		return insecure.NewCredentials(), nil
	}
	authority, err := os.ReadFile(i.ca)
	if err != nil {
		return nil, err
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(authority) {
		return nil, fmt.Errorf("%s contains no certificate", i.ca)
	}
	pair, err := tls.LoadX509KeyPair(i.cert, i.key)
	if err != nil {
		return nil, errors.Join(errors.New("need --tls-cert and --tls-key"), err)
	}
	return credentials.NewTLS(&tls.Config{
		ServerName:   serverName,
		Certificates: []tls.Certificate{pair},
		RootCAs:      pool,
		ClientCAs:    pool,
		ClientAuth:   tls.RequireAndVerifyClientCert,
	}), nil
}

// serverName is the name in the certificates of servers.
const serverName = "localhost"
