// Names on the wire: what users write and what other systems call things.
#ifndef COCO_COMMON_NAMES_H
#define COCO_COMMON_NAMES_H

#define NAME_GROUP "pipelines.confidentialcontainers.org"
#define NAME_GROUP_VERSION NAME_GROUP "/v1alpha1"

// Trustee's resources: the group of the upstream operator, whose objects we take over.
#define NAME_TRUSTEE_GROUP "confidentialcontainers.org"
#define NAME_TRUSTEE_GROUP_VERSION NAME_TRUSTEE_GROUP "/v1alpha1"

// Ours: labels.
#define LABEL_CONFIDENTIAL NAME_GROUP "/confidential"
#define LABEL_OPT_OUT NAME_GROUP "/opt-out"
// Ours: annotations.
#define ANNOTATION_PROFILE NAME_GROUP "/profile"
#define ANNOTATION_DEFAULT_PROFILE NAME_GROUP "/default-profile"
#define ANNOTATION_MEMORY NAME_GROUP "/memory"
#define ANNOTATION_IMAGE_SIZE NAME_GROUP "/image-size"
#define ANNOTATION_INJECTED NAME_GROUP "/injected"

#define DEFAULT_PROFILE "default"
#define DEFAULT_SYSTEM_NAMESPACE "coco-pipelines-system"
#define DEFAULT_TRUSTEE_NAMESPACE "trustee-operator-system"
#define DEFAULT_RUNTIME_CLASS "kata-cc"

// Tekton's (tektoncd/pipeline pkg/pod).
#define LABEL_TASKRUN "tekton.dev/taskRun"
#define STEP_PREFIX "step-"
#define AFFINITY_ASSISTANT_PREFIX "affinity-assistant-"

// Kubernetes' own creators of a StatefulSet's pods: with a service account for each controller, and without.
#define USER_STATEFULSET_CONTROLLER "system:serviceaccount:kube-system:statefulset-controller"
#define USER_CONTROLLER_MANAGER "system:kube-controller-manager"

// Kata's (kata-containers src/runtime/virtcontainers/pkg/annotations).
#define KATA_PREFIX "io.katacontainers."
#define KATA_INITDATA KATA_PREFIX "config.hypervisor.cc_init_data"
#define KATA_MEMORY KATA_PREFIX "config.hypervisor.default_memory"
#define KATA_VCPUS KATA_PREFIX "config.hypervisor.default_vcpus"

#endif
