// Options for the images of Trustee, where a resource names none: of the controller and of its preview alike.
#ifndef COCO_CONTROLLER_IMAGE_OPTIONS_H
#define COCO_CONTROLLER_IMAGE_OPTIONS_H

#include "common/options.h"
#include "controller/rendered.h"

// world: a struct trustee_world, with what is used where an option isn't given.
#define TRUSTEE_IMAGE_OPTIONS_OF(option, env, help, image)        \
	{                                                             \
		option, 0, "IMAGE", env, help, &(image), NULL, NULL, NULL \
	}
#define TRUSTEE_IMAGE_OPTIONS(world)                                                                                   \
	TRUSTEE_IMAGE_OPTIONS_OF("kbs-image", "COCO_KBS_IMAGE", "image of the KBS, where a resource names none",           \
							 (world).images.kbs),                                                                      \
		TRUSTEE_IMAGE_OPTIONS_OF("kbs-grpc-image", "COCO_KBS_GRPC_IMAGE", "the same with MicroservicesDeployment",     \
								 (world).images.kbs_grpc),                                                             \
		TRUSTEE_IMAGE_OPTIONS_OF("as-image", "COCO_AS_IMAGE",                                                          \
								 "image of the attestation service, with MicroservicesDeployment", (world).images.as), \
		TRUSTEE_IMAGE_OPTIONS_OF("rvps-image", "COCO_RVPS_IMAGE",                                                      \
								 "image of the reference value provider, with MicroservicesDeployment",                \
								 (world).images.rvps)

#endif
