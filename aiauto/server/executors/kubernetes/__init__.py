"""Workers as Pods of a Kubernetes cluster: a Job a batch, whose Pods lease trials.

`executor` decides, `jobs` and `pods` say in the words of Kubernetes what there shall be, `cluster`
asks for it, `informer` watches what comes of it, and `states` reads that for users. Needs the extra
``aiauto-client[kubernetes]``.
"""
