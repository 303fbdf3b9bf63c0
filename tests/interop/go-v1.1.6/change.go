package main

import (
	"github.com/nacos-group/nacos-sdk-go/clients/naming_client"
	"github.com/nacos-group/nacos-sdk-go/model"
	"github.com/nacos-group/nacos-sdk-go/vo"
)

// What differs between the versions of the client.

func change(client naming_client.INamingClient, to vo.RegisterInstanceParam) error {
	_, err := client.UpdateInstance(vo.UpdateInstanceParam{
		Ip: to.Ip, Port: to.Port, ClusterName: to.ClusterName, ServiceName: to.ServiceName, GroupName: to.GroupName,
		Ephemeral: true, Weight: to.Weight, Enable: true, Metadata: to.Metadata,
	})
	return err
}

func isHealthy(host model.SubscribeService) bool {
	return host.Healthy
}
