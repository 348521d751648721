// What the fake driver knows of a kernel.
#pragma once

#include <cstddef>
#include <vector>

struct Parameter {
    size_t size, align;
    bool pointer;
};

struct Kernel {
    const char *name;
    std::vector<Parameter> parameters;
    // Runs all threads of a grid, one after another; each argument is a pointer to its value.
    void (*run)(void **arguments, const unsigned grid[3], const unsigned block[3]);
};

const Kernel *find_kernel(const char *name);
