// SPDX-License-Identifier: BSD-3-Clause
#include "fastpath/plugins.h"

#include <ctype.h>
#include <dlfcn.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "fastpath/plugin.h"

struct loaded {
	const struct fp_plugin *plugin;
	struct plugin_row row;
};

static struct loaded loaded[PLUGINS_MAX];
static unsigned n_loaded;
static struct loaded *starting;
static unsigned n_started;

const char *plugins_starting(void)
{
	return starting ? starting->plugin->name : "";
}

void plugins_note(const char *joined)
{
	size_t n;

	if (!starting)
		return;
	n = strlen(starting->row.joined);
	snprintf(starting->row.joined + n, sizeof(starting->row.joined) - n, "%s%s", n ? " " : "",
		 joined);
}

/* Who can change the file can change the fast path: only those who can do so anyhow. */
static int check_file(const char *path, struct err *err)
{
	struct stat st;

	if (stat(path, &st)) {
		err_set(err, errno, "plugin %s: %s", path, strerror(errno));
		return err_hint(err, "FP_PLUGINS names files, or plugins in %s", PLUGINS_PATH);
	}
	if (!S_ISREG(st.st_mode))
		return err_set(err, EINVAL, "plugin %s is no file", path);
	if ((st.st_uid && st.st_uid != geteuid()) || st.st_mode & S_IWOTH) {
		err_set(err, EPERM, "plugin %s could be changed by others", path);
		return err_hint(err, "its owner must be root, and others mustn't write to it");
	}
	return 0;
}

static bool good_name(const char *name)
{
	size_t n = name ? strlen(name) : 0;

	for (size_t i = 0; i < n; i++)
		if (!islower((unsigned char)name[i]) && !isdigit((unsigned char)name[i]) &&
		    name[i] != '_')
			return false;
	return n && n < sizeof(((struct plugin_row *)0)->name);
}

static int check_plugin(const struct fp_plugin *p, const char *path, struct err *err)
{
	const unsigned dpdk = RTE_VER_YEAR * 100 + RTE_VER_MONTH;

	if (!p) {
		err_set(err, ENOEXEC, "plugin %s has no symbol fp_plugin", path);
		return err_hint(err, "define it with FP_PLUGIN of <sluice/plugin.h>");
	}
	if (p->abi != FP_PLUGIN_ABI) {
		err_set(err, EPROTO, "plugin %s is for version %u of the interface, this is %d",
			path, p->abi, FP_PLUGIN_ABI);
		return err_hint(err, "build it with this version's <sluice/plugin.h>");
	}
	if (p->dpdk != dpdk) {
		err_set(err, EPROTO, "plugin %s was built with DPDK %u.%02u, this is %u.%02u", path,
			p->dpdk / 100, p->dpdk % 100, dpdk / 100, dpdk % 100);
		return err_hint(err, "build it with this version's headers");
	}
	if (p->size < sizeof(*p) || !good_name(p->name) || !p->version || !p->text || !p->start ||
	    strlen(p->version) >= sizeof(((struct plugin_row *)0)->version))
		return err_set(err, EINVAL, "plugin %s: its fp_plugin isn't complete", path);
	for (unsigned i = 0; i < n_loaded; i++)
		if (!strcmp(loaded[i].plugin->name, p->name))
			return err_set(err, EEXIST, "plugin %s is there twice", p->name);
	return 0;
}

/* As much of @text as there's room for. */
static void cut(char *ret, size_t size, const char *text)
{
	memcpy(ret, text, strnlen(text, size - 1));
}

static int load(const char *path, const char *arguments, struct err *err)
{
	struct loaded *l = &loaded[n_loaded];
	const char *wrong;
	void *handle;
	int rc = check_file(path, err);

	if (rc)
		return rc;
	if (n_loaded == PLUGINS_MAX)
		return err_set(err, ENOSPC, "plugin %s: there are %d already", path, PLUGINS_MAX);
	/* NOW: a symbol that isn't there is an error here and not at the first packet. */
	handle = dlopen(path, RTLD_NOW | RTLD_LOCAL);
	if (!handle) {
		err_set(err, ENOEXEC, "plugin %s can't be loaded: %s", path, dlerror());
		return err_hint(err, "is it built for this fp-rte and machine?");
	}
	l->plugin = dlsym(handle, "fp_plugin");
	rc = check_plugin(l->plugin, path, err);
	if (rc) {
		dlclose(handle);
		return rc;
	}
	if (l->plugin->configure)
		wrong = l->plugin->configure(arguments);
	else
		wrong = arguments[0] ? "it takes no arguments" : NULL;
	if (wrong) {
		err_set(err, EINVAL, "plugin %s: %s", l->plugin->name, wrong);
		dlclose(handle);
		return -EINVAL;
	}
	memset(&l->row, 0, sizeof(l->row));
	cut(l->row.name, sizeof(l->row.name), l->plugin->name);
	cut(l->row.version, sizeof(l->row.version), l->plugin->version);
	cut(l->row.text, sizeof(l->row.text), l->plugin->text);
	cut(l->row.path, sizeof(l->row.path), path);
	cut(l->row.arguments, sizeof(l->row.arguments), arguments);
	n_loaded++;
	return 0;
}

unsigned plugins_load(const char *list, struct err *ret)
{
	unsigned n = 0;

	while (*list && n < PLUGINS_MAX) {
		size_t word = strcspn(list, " \t"), name = strcspn(list, " \t,");
		char path[512], arguments[1024] = "";

		if (word) {
			if (memchr(list, '/', name))
				snprintf(path, sizeof(path), "%.*s", (int)name, list);
			else
				snprintf(path, sizeof(path), PLUGINS_PATH "/%.*s.so", (int)name,
					 list);
			if (word > name)
				snprintf(arguments, sizeof(arguments), "%.*s",
					 (int)(word - name - 1), list + name + 1);
			ret[n] = (struct err){};
			if (load(path, arguments, &ret[n]))
				n++;
		}
		list += word;
		list += strspn(list, " \t");
	}
	return n;
}

void plugins_print(const char *list)
{
	printf("%-20s %-28u %s\n", "FP_PLUGINS", n_loaded, list[0] ? "as set" : "auto");
	for (unsigned i = 0; i < n_loaded; i++)
		printf("  %-15s %s; %s; %s\n", loaded[i].row.name, loaded[i].row.version,
		       loaded[i].row.text, loaded[i].row.path);
}

int plugins_start(struct err *err)
{
	for (; n_started < n_loaded; n_started++) {
		const char *wrong;

		starting = &loaded[n_started];
		wrong = starting->plugin->start();
		if (wrong)
			err_set(err, EINVAL, "plugin %s: %s", starting->plugin->name, wrong);
		starting = NULL;
		if (wrong)
			return -EINVAL;
	}
	return 0;
}

void plugins_stop(void)
{
	while (n_started)
		if (loaded[--n_started].plugin->stop)
			loaded[n_started].plugin->stop();
}

int plugins_write(struct shm *stats, struct err *err)
{
	struct plugin_row *rows = shm_rows(stats, "plugin");
	struct shm_table_dir *dir = shm_find(stats, "plugin");

	if (!rows || dir->capacity < PLUGINS_MAX)
		return err_set(err, EPROTO, "the stats file has no table 'plugin'");
	for (unsigned i = 0; i < PLUGINS_MAX; i++)
		rows[i] = loaded[i].row;
	shm_count(dir, (int)n_loaded - (int)atomic_load(&dir->used));
	return 0;
}
