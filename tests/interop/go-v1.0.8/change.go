package main

import (
	"github.com/nacos-group/nacos-sdk-go/clients/naming_client"
	"github.com/nacos-group/nacos-sdk-go/model"
	"github.com/nacos-group/nacos-sdk-go/vo"
)

// What differs between the versions of the client.

// change registers again: there is no call to update.
func change(client naming_client.INamingClient, to vo.RegisterInstanceParam) error {
	return register(client, to)
}

func isHealthy(host model.SubscribeService) bool {
	return host.Valid
}
